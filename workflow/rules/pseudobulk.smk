# Which cell types there are is known only now: every job per cell type waits for this table.
checkpoint cell_types:
    input:
        cells=per_sample("results/cells/{sample}/cells.h5ad", PLAN.samples),
    output:
        table="results/cells/cell_types.tsv",
    log:
        "logs/cell_types/cell_types.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=20,
    params:
        code=source_digest("pseudobulk"),
    script:
        "../scripts/cell_types.py"


rule split_fragments:
    input:
        table="results/cells/cell_types.tsv",
        fragments=[sample_fragments(sample) for sample in PLAN.samples],
        cells=per_sample("results/cells/{sample}/cells.h5ad", PLAN.samples),
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        fragments="results/pseudobulk/{slug}/fragments.tsv.gz",
        index="results/pseudobulk/{slug}/fragments.tsv.gz.tbi",
    log:
        "logs/split_fragments/{slug}.log",
    benchmark:
        "benchmarks/split_fragments/{slug}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=4000,
        runtime=480,
    params:
        samples=list(PLAN.samples),
        cell_type=slug_name,
        code=source_digest("pseudobulk"),
    script:
        "../scripts/split_fragments.py"


rule pseudobulk_coverage:
    input:
        fragments="results/pseudobulk/{slug}/fragments.tsv.gz",
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        bigwig="results/pseudobulk/{slug}/coverage.bw",
    log:
        "logs/pseudobulk_coverage/{slug}.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=240,
    params:
        code=source_digest("pseudobulk"),
    script:
        "../scripts/pseudobulk_coverage.py"


# A type too small for peaks of its own says so in peaks.json and takes those of the samples.
rule pseudobulk_peaks:
    input:
        table="results/cells/cell_types.tsv",
        fragments="results/pseudobulk/{slug}/fragments.tsv.gz",
        fallback=per_sample("results/cells/{sample}/peaks.narrowPeak", PLAN.samples),
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        peaks="results/pseudobulk/{slug}/peaks.narrowPeak",
        status="results/pseudobulk/{slug}/peaks.json",
    log:
        "logs/pseudobulk_peaks/{slug}.log",
    benchmark:
        "benchmarks/pseudobulk_peaks/{slug}.tsv"
    conda:
        "../../envs/peaks.yaml"
    resources:
        mem_mb=memory(4000, 20),
        runtime=240,
    params:
        qvalue=lookup("peaks/qvalue", within=SETTINGS),
        extsize=lookup("peaks/extsize", within=SETTINGS),
        min_cells=lookup("peaks/min_cells", within=SETTINGS),
        min_fragments=lookup("peaks/min_fragments", within=SETTINGS),
        code=source_digest("peaks"),
    script:
        "../scripts/pseudobulk_peaks.py"


# One set of peaks for all cells, from every type and every sample.
rule consensus_peaks:
    input:
        types=per_type("results/pseudobulk/{slug}/peaks.narrowPeak"),
        samples=per_sample("results/cells/{sample}/peaks.narrowPeak", PLAN.samples),
        sizes=f"{REFERENCE}/chrom.sizes",
        exclude=f"{REFERENCE}/exclude.bed",
    output:
        peaks="results/peaks/consensus.bed",
    log:
        "logs/consensus_peaks/consensus.log",
    conda:
        "../../envs/peaks.yaml"
    resources:
        mem_mb=memory(4000, 20),
        runtime=60,
    params:
        width=lookup("peaks/consensus_width", within=SETTINGS),
        code=source_digest("peaks"),
    script:
        "../scripts/consensus_peaks.py"
