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
        runtime=20,
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
        table="results/motifs/found.tsv",
    log:
        "logs/find_motifs/motifs.log",
    benchmark:
        "logs/find_motifs/motifs.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 4
    resources:
        mem_mb=memory(3000),
        runtime=120,
    params:
        reference=subpath(input[0], parent=True),
        windows=lookup("motifs/windows", within=SETTINGS),
        seed=lookup("motifs/seed", within=SETTINGS),
        code=source_digest("discovery.find", script="find_motifs"),
    script:
        "../scripts/find_motifs.py"
