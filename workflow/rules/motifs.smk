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
        mem_mb=2000,
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
