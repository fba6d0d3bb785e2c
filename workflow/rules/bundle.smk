# A trained model as one file, and the files of a model that was given so. A given model is not trained: its files
# replace those that training and calibration write.
rule make_bundle:
    input:
        weights="results/models/{model}/model.safetensors",
        calibration="results/models/{model}/calibration.json",
        history="results/models/{model}/training.csv",
        card="results/models/{model}/card.md",
        motifs=lambda wildcards: known_motifs(wildcards.model),
        metrics="results/evaluation/metrics.tsv",
        extends=extended_bundle,
    output:
        bundle="results/models/{model}/{model}.scbind.zip",
    log:
        "logs/make_bundle/{model}.log",
    benchmark:
        "logs/make_bundle/{model}.benchmark.tsv"
    wildcard_constraints:
        model=one_of(TRAINED),
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=runtime(20),
    params:
        comparators=[*BASELINES, *ORACLE],
        species=SETTINGS["genome"]["species"],
        licence=lambda wildcards: SETTINGS["models"][wildcards.model]["licence"],
        training_data=PLAN.training_data(),
        files=extended_states,
        code=source_digest("models.bundle", script="make_bundle"),
    script:
        "../scripts/make_bundle.py"


# Verifies a bundle before anything is read from it, and adds the TFs that models.*.motif_tfs asks for.
rule unpack_bundle:
    input:
        bundle=lambda wildcards: GIVEN[wildcards.model],
        matrices=added_matrices,
    output:
        weights="results/models/{model}/model.safetensors",
        calibration="results/models/{model}/calibration.json",
        history="results/models/{model}/training.csv",
        card="results/models/{model}/card.md",
        motifs="results/models/{model}/motifs.npz",
        about="results/models/{model}/bundle.json",
        metrics="results/models/{model}/stated_metrics.tsv",
        evaluation="results/models/{model}/stated_evaluation.tsv",
    log:
        "logs/unpack_bundle/{model}.log",
    benchmark:
        "logs/unpack_bundle/{model}.benchmark.tsv"
    wildcard_constraints:
        model=one_of(GIVEN),
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=runtime(20),
    params:
        folder=subpath(output.weights, parent=True),
        window=SETTINGS["dataset"]["window"],
        context=SETTINGS["dataset"]["context"],
        motif_tfs=added_tfs,
        files=lambda wildcards: states(GIVEN[wildcards.model], added_matrices(wildcards)),
        code=source_digest("models.unpack", script="unpack_bundle"),
    script:
        "../scripts/unpack_bundle.py"
