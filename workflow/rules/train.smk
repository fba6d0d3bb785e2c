# Settings of a model that do not affect its training.
NOT_OF_TRAINING = (
    "bundle",
    "extends",
    "licence",
    "motifs",
    "motif_tfs",
    "test_windows",
    "depth_windows",
    "workers",
    "require_gpu",
)


# The matrices from which the network of each model starts; scfan has none.
START_MOTIFS = {
    name: (
        f"results/motifs/{'known_or_found' if model['motifs'] else 'found'}.npz"
        if model["architecture"] == "scbind"
        else None
    )
    for name, model in SETTINGS["models"].items()
}


# Trains a model on a GPU if one is granted (resource gpu) and visible, otherwise on the CPU.
rule train_model:
    input:
        REFERENCE_FILES,
        mappability=MAPPABILITY,
        dataset="results/dataset",
        motifs=lambda wildcards: optional(START_MOTIFS[wildcards.model]),
    output:
        weights="results/models/{model}/model.safetensors",
        history="results/models/{model}/training.csv",
    log:
        "logs/train_model/{model}.log",
    benchmark:
        "logs/train_model/{model}.benchmark.tsv"
    wildcard_constraints:
        model=one_of(set(TRAINED) - set(SHARED)),
    # Begins before other jobs, because the cells wait for it.
    priority: 1
    conda:
        "../../envs/train.yaml"
    threads: training_threads
    resources:
        gpu=GPU,
        mem_mb=memory(8000),
        runtime=runtime(720),
        # The model depends on neither of the next two. They are resources, because a change of params would rerun the
        # training, and a change of resources does not.
        workers=lambda wildcards: SETTINGS["models"][wildcards.model]["workers"],
        require_gpu=lambda wildcards: int(SETTINGS["models"][wildcards.model]["require_gpu"]),
    params:
        reference=subpath(input[0], parent=True),
        options=lambda wildcards: {
            k: v for k, v in SETTINGS["models"][wildcards.model].items() if k not in NOT_OF_TRAINING
        },
        code=source_digest("models.training", script="train_model"),
    script:
        "../scripts/train_model.py"


# Trains a model to which TFs without ChIP-seq can be added. Other TFs are added without training again.
use rule train_model as train_shared_model with:
    input:
        REFERENCE_FILES,
        mappability=MAPPABILITY,
        dataset="results/dataset",
        motifs=lambda wildcards: optional(START_MOTIFS[wildcards.model]),
        released="results/motifs/motifs.npz",
        extends=extended_bundle,
        # Not read, so other TFs need no new training. But a misspelt one stops the run before the training.
        chosen=ancient("results/models/{model}/motif_tfs.npz"),
    output:
        weights="results/models/{model}/trained.safetensors",
        history="results/models/{model}/training.csv",
    log:
        "logs/train_shared_model/{model}.log",
    benchmark:
        "logs/train_shared_model/{model}.benchmark.tsv"
    wildcard_constraints:
        model=one_of(SHARED),
    params:
        files=extended_states,
        case_matters=CASE_MATTERS,


# Finds the matrices of the TFs of the motif release that models.*.motif_tfs asks for.
rule choose_motif_tfs:
    input:
        matrices=optional(SETTINGS["motifs"]["path"]),
        extends=extended_bundle,
    output:
        chosen="results/models/{model}/motif_tfs.npz",
    log:
        "logs/choose_motif_tfs/{model}.log",
    benchmark:
        "logs/choose_motif_tfs/{model}.benchmark.tsv"
    wildcard_constraints:
        model=one_of(SHARED),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=runtime(20),
    params:
        tfs=lambda wildcards: SETTINGS["models"][wildcards.model]["motif_tfs"],
        assayed=PLAN.tfs,
        release=lookup("motifs/release", within=SETTINGS),
        taxon=lookup("motifs/taxon", within=SETTINGS),
        aliases=SETTINGS["motifs"]["aliases"],
        files=lambda wildcards: key_states("motifs/path") + extended_states(wildcards),
        code=source_digest("formats.motiftfs", script="choose_motif_tfs"),
    script:
        "../scripts/choose_motif_tfs.py"


# Adds these TFs to the trained model. They have a matrix, and no weights of their own.
rule add_motif_tfs:
    input:
        trained="results/models/{model}/trained.safetensors",
        known="results/motifs/motifs.npz",
        chosen="results/models/{model}/motif_tfs.npz",
        extends=extended_bundle,
    output:
        weights="results/models/{model}/model.safetensors",
        motifs="results/models/{model}/motifs.npz",
    log:
        "logs/add_motif_tfs/{model}.log",
    benchmark:
        "logs/add_motif_tfs/{model}.benchmark.tsv"
    wildcard_constraints:
        model=one_of(SHARED),
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=runtime(60),
    params:
        files=extended_states,
        code=source_digest("models.addition", script="add_motif_tfs"),
    script:
        "../scripts/add_motif_tfs.py"


# Calibrates the probabilities of a model at any depth.
rule calibrate_model:
    input:
        REFERENCE_FILES,
        mappability=MAPPABILITY,
        weights="results/models/{model}/model.safetensors",
        dataset="results/dataset",
        extends=extended_bundle,
    output:
        calibration="results/models/{model}/calibration.json",
    log:
        "logs/calibrate_model/{model}.log",
    benchmark:
        "logs/calibrate_model/{model}.benchmark.tsv"
    wildcard_constraints:
        model=one_of(TRAINED),
    # The cells wait for it. (A negative priority for what they do not wait for would leave cores idle: the scheduler of
    # Snakemake then starts such a job only if there is no other one.)
    priority: 1
    conda:
        "../../envs/train.yaml"
    threads: 8
    resources:
        mem_mb=memory(4000),
        runtime=runtime(240),
    params:
        reference=subpath(input[0], parent=True),
        max_windows=lambda wildcards: SETTINGS["models"][wildcards.model]["valid_windows"],
        seed=lambda wildcards: SETTINGS["models"][wildcards.model]["seed"],
        files=extended_states,
        code=source_digest("models.calibration", script="calibrate_model"),
    script:
        "../scripts/calibrate_model.py"
