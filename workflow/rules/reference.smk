# Sequence, chromosome lengths and exclusion list, in the format that all later rules read.
rule prepare_reference:
    input:
        fasta=SETTINGS["genome"]["fasta"],
        exclude=optional(SETTINGS["genome"]["exclude"]),
        chrom_sizes=optional(SETTINGS["genome"]["chrom_sizes"]),
    output:
        fasta=f"{REFERENCE}/genome.fa.gz",
        index=multiext(f"{REFERENCE}/genome.fa.gz", ".fai", ".gzi"),
        sizes=f"{REFERENCE}/chrom.sizes",
        codes=f"{REFERENCE}/sequence.npy",
        exclude=f"{REFERENCE}/exclude.bed",
    log:
        "logs/prepare_reference/reference.log",
    benchmark:
        "logs/prepare_reference/reference.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(2000, 1),
        runtime=runtime(60),
    params:
        files=key_states("genome/fasta", "genome/exclude", "genome/chrom_sizes"),
        code=source_digest("reference.prepare", script="prepare_reference"),
    script:
        "../scripts/prepare_reference.py"


# Mappability of each base. Runs only if the configuration sets genome.mappability.
rule prepare_mappability:
    input:
        multiext(f"{REFERENCE}/", "chrom.sizes", "sequence.npy"),
        bigwig=optional(SETTINGS["genome"]["mappability"]),
    output:
        mappability=f"{REFERENCE}/mappability.npy",
    log:
        "logs/prepare_mappability/mappability.log",
    benchmark:
        "logs/prepare_mappability/mappability.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=runtime(240),
    params:
        reference=subpath(input[0], parent=True),
        files=key_states("genome/mappability"),
        code=source_digest("reference.mappability", script="prepare_mappability"),
    script:
        "../scripts/prepare_mappability.py"
