# Converts the BAM of a sample to a fragments file.
rule bam_fragments:
    input:
        bam=lambda wildcards: sample_row(wildcards.sample)["path"],
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        fragments="results/cells/{sample}/fragments.tsv.gz",
    log:
        "logs/bam_fragments/{sample}.log",
    benchmark:
        "logs/bam_fragments/{sample}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=runtime(480),
    params:
        barcode_tag=lookup("cells/barcode_tag", within=SETTINGS),
        files=lambda wildcards: sample_states(wildcards.sample, "path"),
        code=source_digest("cells.frombam", script="bam_fragments"),
    script:
        "../scripts/bam_fragments.py"


# Which barcodes are cells, their quality measures, and the positions of their insertions. The first rule that reads the
# genes: with the sequence, it refuses those of another assembly.
rule count_fragments:
    input:
        fragments=lambda wildcards: sample_fragments(wildcards.sample),
        sizes=f"{REFERENCE}/chrom.sizes",
        sequence=optional(SETTINGS["genome"]["genes"] and f"{REFERENCE}/sequence.npy"),
        barcodes=lambda wildcards: optional(sample_row(wildcards.sample)["barcodes"]),
        genes=optional(SETTINGS["genome"]["genes"]),
    output:
        position="results/cells/{sample}/position.npy",
        cell="results/cells/{sample}/cell.npy",
        barcodes="results/cells/{sample}/barcodes.tsv",
        profile="results/cells/{sample}/profile.tsv",
    log:
        "logs/count_fragments/{sample}.log",
    benchmark:
        "logs/count_fragments/{sample}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=runtime(480),
    params:
        reference=subpath(input.sizes, parent=True),
        min_fragments=lookup("cells/min_barcode", within=SETTINGS),
        files=lambda wildcards: sample_states(wildcards.sample, "fragments", "barcodes")
        + key_states("genome/genes"),
        code=source_digest("cells.count", script="count_fragments"),
    script:
        "../scripts/count_fragments.py"


# Quality measures of the samples, one row each, as MultiQC reads them.
rule quality_table:
    input:
        cells=per_sample("results/cells/{sample}/embedding.h5ad", PLAN.samples),
        profiles=per_sample("results/cells/{sample}/profile.tsv", PLAN.samples),
    output:
        table="results/cells/quality_mqc.tsv",
    log:
        "logs/quality_table/quality.log",
    benchmark:
        "logs/quality_table/quality.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=runtime(30),
    params:
        samples=list(PLAN.samples),
        code=source_digest("cells.qualitytable", script="quality_table"),
    script:
        "../scripts/quality_table.py"
