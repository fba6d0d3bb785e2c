# One matrix per TF, from the JASPAR release that pyJASPAR contains, or from a file.
rule prepare_motifs:
    input:
        matrices=optional(SETTINGS["motifs"]["path"]),
    output:
        motifs="results/motifs/motifs.npz",
    log:
        "logs/prepare_motifs/motifs.log",
    benchmark:
        "logs/prepare_motifs/motifs.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=runtime(20),
    params:
        tfs=PLAN.tfs,
        release=lookup("motifs/release", within=SETTINGS),
        taxon=lookup("motifs/taxon", within=SETTINGS),
        aliases=SETTINGS["motifs"]["aliases"],
        files=key_states("motifs/path"),
        code=source_digest("formats.motiffiles", script="prepare_motifs"),
    script:
        "../scripts/prepare_motifs.py"


# Finds the motifs of every TF in its bound windows, and tries them beside the known one. Test windows are not read.
rule find_motifs:
    input:
        REFERENCE_FILES,
        known="results/motifs/motifs.npz",
        dataset="results/dataset",
    output:
        found="results/motifs/found.npz",
        known_or_found="results/motifs/known_or_found.npz",
        candidates="results/motifs/candidates.npz",
        table="results/motifs/candidates.tsv",
    log:
        "logs/find_motifs/motifs.log",
    benchmark:
        "logs/find_motifs/motifs.benchmark.tsv"
    # The training waits for it, and the cells for the training.
    priority: 1
    conda:
        "../../envs/core.yaml"
    threads: 4
    resources:
        mem_mb=memory(3000),
        runtime=runtime(120),
    params:
        reference=subpath(input[0], parent=True),
        windows=lookup("motifs/windows", within=SETTINGS),
        seed=lookup("motifs/seed", within=SETTINGS),
        code=source_digest("discovery.find", script="find_motifs"),
    script:
        "../scripts/find_motifs.py"


# Names the known motif that is most similar to each found one. A rule of its own, because the training waits for
# find_motifs, and need not be repeated if only the motifs for this comparison change.
rule compare_motifs:
    input:
        table="results/motifs/candidates.tsv",
        candidates="results/motifs/candidates.npz",
        known="results/motifs/motifs.npz",
        matrices=optional(SETTINGS["motifs"]["path"]),
    output:
        table="results/motifs/found.tsv",
    log:
        "logs/compare_motifs/motifs.log",
    benchmark:
        "logs/compare_motifs/motifs.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(3000),
        runtime=runtime(20),
    params:
        release=lookup("motifs/release", within=SETTINGS),
        taxon=lookup("motifs/taxon", within=SETTINGS),
        files=key_states("motifs/path"),
        code=source_digest("discovery.compared", script="compare_motifs"),
    script:
        "../scripts/compare_motifs.py"


# The motifs that a network has learned, and the known motif that is most similar to each.
rule learned_motifs:
    input:
        weights="results/models/{model}/model.safetensors",
        motifs=lambda wildcards: known_motifs(wildcards.model),
        matrices=optional(SETTINGS["motifs"]["path"]),
    output:
        table="results/models/{model}/learned_motifs.tsv",
    log:
        "logs/learned_motifs/{model}.log",
    benchmark:
        "logs/learned_motifs/{model}.benchmark.tsv"
    wildcard_constraints:
        model=one_of(MODELS),
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=memory(3000),
        runtime=runtime(20),
    params:
        release=lookup("motifs/release", within=SETTINGS),
        taxon=lookup("motifs/taxon", within=SETTINGS),
        files=key_states("motifs/path"),
        code=source_digest("discovery.learned", script="learned_motifs"),
    script:
        "../scripts/learned_motifs.py"
