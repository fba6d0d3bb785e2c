# Peaks of a sample, over all cell types. Barcodes that are not cells count too, because quality control needs the peaks
# to decide which barcodes are cells.
rule sample_peaks:
    input:
        fragments=lambda wildcards: sample_fragments(wildcards.sample),
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        peaks="results/cells/{sample}/peaks.narrowPeak",
    log:
        "logs/sample_peaks/{sample}.log",
    benchmark:
        "logs/sample_peaks/{sample}.benchmark.tsv"
    conda:
        "../../envs/peaks.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=runtime(480),
    params:
        qvalue=lookup("peaks/qvalue", within=SETTINGS),
        extsize=lookup("peaks/extsize", within=SETTINGS),
        max_fragments=lookup("peaks/max_fragments", within=SETTINGS),
        files=lambda wildcards: sample_states(wildcards.sample, "fragments"),
        code=source_digest("peaks.macs3", script="sample_peaks"),
    script:
        "../scripts/sample_peaks.py"


# Calls the peaks of a cell type with MACS3. The file is empty if there are none.
rule call_peaks:
    input:
        fragments="results/pseudobulk/{slug}/fragments.tsv.gz",
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        peaks="results/pseudobulk/{slug}/called.narrowPeak",
    log:
        "logs/call_peaks/{slug}.log",
    benchmark:
        "logs/call_peaks/{slug}.benchmark.tsv"
    conda:
        "../../envs/peaks.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=runtime(240),
    params:
        qvalue=lookup("peaks/qvalue", within=SETTINGS),
        extsize=lookup("peaks/extsize", within=SETTINGS),
        max_fragments=lookup("peaks/max_fragments", within=SETTINGS),
        code=source_digest("peaks.macs3", script="call_peaks"),
    script:
        "../scripts/call_peaks.py"


# Keeps the peaks of a type that enough of its replicates have. A type that is too small gets the peaks of its samples,
# and peaks.json records this.
rule pseudobulk_peaks:
    input:
        table="results/cells/pseudobulks.tsv",
        called=called_peaks,
        replicates=lambda wildcards: (
            f"results/pseudobulk/{wildcards.slug}/replicates" if compared_replicates(wildcards) else []
        ),
        samples=lambda wildcards: per_sample(
            "results/cells/{sample}/peaks.narrowPeak", type_samples(wildcards)
        ),
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        peaks="results/pseudobulk/{slug}/peaks.narrowPeak",
        status="results/pseudobulk/{slug}/peaks.json",
    log:
        "logs/pseudobulk_peaks/{slug}.log",
    benchmark:
        "logs/pseudobulk_peaks/{slug}.benchmark.tsv"
    conda:
        "../../envs/peaks.yaml"
    resources:
        mem_mb=memory(2000, 20),
        runtime=runtime(60),
    params:
        replicates=compared_replicates,
        min_replicates=lookup("peaks/min_replicates", within=SETTINGS),
        facts=type_facts,
        code=source_digest("peaks.consensus", script="pseudobulk_peaks"),
    script:
        "../scripts/pseudobulk_peaks.py"


# One set of peaks for all cells, from the peaks of all types and samples.
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
    benchmark:
        "logs/consensus_peaks/consensus.benchmark.tsv"
    conda:
        "../../envs/peaks.yaml"
    resources:
        mem_mb=memory(4000, 0.5),
        runtime=runtime(60),
    params:
        width=lookup("peaks/consensus_width", within=SETTINGS),
        code=source_digest("peaks.consensus", script="consensus_peaks"),
    script:
        "../scripts/consensus_peaks.py"


# Runs only if the configuration sets genome.genes.
rule annotate_peaks:
    input:
        peaks="results/peaks/consensus.bed",
        genes=optional(SETTINGS["genome"]["genes"]),
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        table="results/peaks/annotation.tsv",
    log:
        "logs/annotate_peaks/annotation.log",
    benchmark:
        "logs/annotate_peaks/annotation.benchmark.tsv"
    conda:
        "../../envs/peaks.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=runtime(30),
    params:
        promoter=lookup("peaks/promoter", within=SETTINGS),
        files=key_states("genome/genes"),
        code=source_digest("peaks.annotation", script="annotate_peaks"),
    script:
        "../scripts/annotate_peaks.py"


# Counts of each cell in the consensus peaks, for other tools.
rule peak_matrix:
    input:
        position="results/cells/{sample}/position.npy",
        cell="results/cells/{sample}/cell.npy",
        cells="results/cells/{sample}/cells.h5ad",
        peaks="results/peaks/consensus.bed",
        annotation=optional(PEAK_ANNOTATION),
        types="results/cells/cell_types.tsv",
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        matrix="results/cells/{sample}/peaks.h5ad",
    log:
        "logs/peak_matrix/{sample}.log",
    benchmark:
        "logs/peak_matrix/{sample}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=runtime(240),
    params:
        code=source_digest("peaks.matrix", script="peak_matrix"),
    script:
        "../scripts/peak_matrix.py"
