# Lists the cell types. They are not known before, so every job of a cell type waits for these tables. Only this rule
# decides what happens to a type that is too small.
checkpoint cell_types:
    input:
        cells=per_sample("results/cells/{sample}/embedding.h5ad", PLAN.samples),
    output:
        table="results/cells/cell_types.tsv",
        pseudobulks="results/cells/pseudobulks.tsv",
    log:
        "logs/cell_types/cell_types.log",
    benchmark:
        "logs/cell_types/cell_types.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(2000, 1),
        runtime=runtime(20),
    params:
        samples=list(PLAN.samples),
        groups={name: row["group"] for name, row in PLAN.samples.items()},
        donors={name: row["donor"] for name, row in PLAN.samples.items()},
        min_cells=lookup("peaks/min_cells", within=SETTINGS),
        min_fragments=lookup("peaks/min_fragments", within=SETTINGS),
        small_types=lookup("peaks/small_types", within=SETTINGS),
        code=source_digest("peaks.pseudobulk", script="cell_types"),
    script:
        "../scripts/cell_types.py"


# Splits the fragments of a sample into one piece per cell type, in one pass.
rule split_sample:
    input:
        table="results/cells/cell_types.tsv",
        fragments=lambda wildcards: sample_fragments(wildcards.sample),
        cells="results/cells/{sample}/embedding.h5ad",
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        pieces=temp(directory("results/cells/{sample}/pieces")),
    log:
        "logs/split_sample/{sample}.log",
    benchmark:
        "logs/split_sample/{sample}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(3000),
        runtime=runtime(480),
    params:
        files=lambda wildcards: sample_states(wildcards.sample, "fragments"),
        code=source_digest("peaks.splitting", script="split_sample"),
    script:
        "../scripts/split_sample.py"


# Merges the pieces of a cell type from all its samples.
rule merge_pieces:
    input:
        table="results/cells/pseudobulks.tsv",
        pieces=type_pieces,
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        fragments="results/pseudobulk/{slug}/fragments.tsv.gz",
        index="results/pseudobulk/{slug}/fragments.tsv.gz.tbi",
    log:
        "logs/merge_pieces/{slug}.log",
    benchmark:
        "logs/merge_pieces/{slug}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=runtime(480),
    params:
        code=source_digest("peaks.pooling", script="merge_pieces"),
    script:
        "../scripts/merge_pieces.py"


rule pseudobulk_coverage:
    input:
        fragments="results/pseudobulk/{slug}/fragments.tsv.gz",
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        bigwig="results/pseudobulk/{slug}/coverage.bw",
    log:
        "logs/pseudobulk_coverage/{slug}.log",
    benchmark:
        "logs/pseudobulk_coverage/{slug}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(3000),
        runtime=runtime(480),
    params:
        code=source_digest("peaks.coverage", script="pseudobulk_coverage"),
    script:
        "../scripts/pseudobulk_coverage.py"


# Fragments, coverage and peaks of all replicates of a cell type, in one job: a cohort may have thousands.
rule type_replicates:
    input:
        table="results/cells/pseudobulks.tsv",
        pieces=type_pieces,
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        replicates=directory("results/pseudobulk/{slug}/replicates"),
    log:
        "logs/type_replicates/{slug}.log",
    benchmark:
        "logs/type_replicates/{slug}.benchmark.tsv"
    conda:
        "../../envs/peaks.yaml"
    threads: 4
    resources:
        mem_mb=memory(8000),
        runtime=runtime(720),
    params:
        of_type=type_samples,
        samples=lambda wildcards: {
            name: row["samples"].split(",") for name, row in replicate_rows(wildcards.slug).items()
        },
        compared=compared_replicates,
        options={key: SETTINGS["peaks"][key] for key in ("replicate_pvalue", "extsize", "max_fragments")},
        code=source_digest("peaks.replicates", script="type_replicates"),
    script:
        "../scripts/type_replicates.py"
