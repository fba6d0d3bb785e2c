rule differential_tfs:
    input:
        activity=per_sample("results/activity/{sample}.h5ad", PLAN.binding_samples),
        lenders=per_sample("results/cells/{sample}/lenders.h5ad", PLAN.binding_samples),
    output:
        table=report(
            "results/analysis/differential_tfs.tsv",
            caption="../report/differential_tfs.rst",
            category="Analysis",
        ),
    log:
        "logs/differential_tfs/differential.log",
    benchmark:
        "logs/differential_tfs/differential.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000, 4),
        runtime=runtime(60),
    params:
        min_cells=lookup("analysis/min_cells", within=SETTINGS),
        code=source_digest("analysis.differential", script="differential_tfs"),
    script:
        "../scripts/differential_tfs.py"


rule find_populations:
    input:
        activity=per_sample("results/activity/{sample}.h5ad", PLAN.binding_samples),
        peaks=per_sample("results/cells/{sample}/peaks.h5ad", PLAN.binding_samples),
    output:
        table=report(
            "results/analysis/populations.tsv",
            caption="../report/populations.rst",
            category="Analysis",
        ),
        cells="results/analysis/population_cells.tsv",
    log:
        "logs/find_populations/populations.log",
    benchmark:
        "logs/find_populations/populations.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    threads: threads_by_size(4, 20)
    resources:
        mem_mb=memory(4000, 8),
        runtime=runtime(480),
    params:
        options=SETTINGS["analysis"]["populations"],
        code=source_digest("analysis.populations", script="find_populations"),
    script:
        "../scripts/find_populations.py"


rule abundance:
    input:
        cells=per_sample("results/cells/{sample}/cells.h5ad", PLAN.binding_samples),
        populations="results/analysis/population_cells.tsv",
    output:
        table=report(
            "results/analysis/abundance.tsv",
            caption="../report/abundance.rst",
            category="Analysis",
        ),
    log:
        "logs/abundance/abundance.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=runtime(60),
    params:
        code=source_digest("analysis.abundance", script="abundance"),
    script:
        "../scripts/abundance.py"


# Windows whose binding differs between types, or between conditions within a type.
rule differential_sites:
    input:
        binding=per_sample("results/binding/{sample}.zarr", PLAN.binding_samples),
        cells=per_sample("results/cells/{sample}/cells.h5ad", PLAN.binding_samples),
        windows="results/binding/windows.npz",
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        table="results/analysis/differential_sites.tsv",
        counts=report(
            "results/analysis/differential_site_counts.tsv",
            caption="../report/differential_sites.rst",
            category="Analysis",
        ),
        bed="results/analysis/differential_sites.bed",
    log:
        "logs/differential_sites/sites.log",
    benchmark:
        "logs/differential_sites/sites.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=runtime(240, cells=4),
    params:
        options=SETTINGS["analysis"]["sites"],
        min_cells=lookup("analysis/min_cells", within=SETTINGS),
        code=source_digest("analysis.sites", script="differential_sites"),
    script:
        "../scripts/differential_sites.py"


# Runs only if the configuration sets genome.genes.
rule tf_targets:
    input:
        binding=per_sample("results/binding/{sample}.zarr", PLAN.binding_samples),
        cells=per_sample("results/cells/{sample}/cells.h5ad", PLAN.binding_samples),
        windows="results/binding/windows.npz",
        genes=optional(SETTINGS["genome"]["genes"]),
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        table=report(
            "results/analysis/tf_targets.tsv",
            caption="../report/tf_targets.rst",
            category="Analysis",
        ),
    log:
        "logs/tf_targets/targets.log",
    benchmark:
        "logs/tf_targets/targets.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=runtime(120, cells=4),
    params:
        options=SETTINGS["analysis"]["targets"],
        min_cells=lookup("analysis/min_cells", within=SETTINGS),
        files=key_states("genome/genes"),
        code=source_digest("analysis.targets", script="tf_targets"),
    script:
        "../scripts/tf_targets.py"


rule motif_enrichment:
    input:
        REFERENCE_FILES,
        binding=per_sample("results/binding/{sample}.zarr", PLAN.binding_samples),
        cells=per_sample("results/cells/{sample}/cells.h5ad", PLAN.binding_samples),
        windows="results/binding/windows.npz",
        motifs=known_motifs(INFER_MODEL),
    output:
        table=report(
            "results/analysis/motifs.tsv",
            caption="../report/motifs.rst",
            category="Analysis",
        ),
        sites="results/analysis/best_sites.tsv",
    log:
        "logs/motif_enrichment/motifs.log",
    benchmark:
        "logs/motif_enrichment/motifs.benchmark.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=runtime(120, cells=4),
    params:
        reference=subpath(input[0], parent=True),
        options=SETTINGS["analysis"]["motifs"],
        min_cells=lookup("analysis/min_cells", within=SETTINGS),
        code=source_digest("analysis.enrichment", script="motif_enrichment"),
    script:
        "../scripts/motif_enrichment.py"


# Binding per consensus peak and TF, as the annotation that betterChromVAR and decoupler read.
rule peak_binding:
    input:
        binding=per_sample("results/binding/{sample}.zarr", PLAN.binding_samples),
        cells=per_sample("results/cells/{sample}/cells.h5ad", PLAN.binding_samples),
        windows="results/binding/windows.npz",
        peaks="results/peaks/consensus.bed",
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        matrix="results/analysis/peak_binding.h5ad",
        network="results/analysis/peak_binding.tsv.gz",
    log:
        "logs/peak_binding/peaks.log",
    benchmark:
        "logs/peak_binding/peaks.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=runtime(120, cells=4),
    params:
        options=SETTINGS["analysis"]["peak_binding"],
        min_cells=lookup("analysis/min_cells", within=SETTINGS),
        code=source_digest("analysis.peakbinding", script="peak_binding"),
    script:
        "../scripts/peak_binding.py"
