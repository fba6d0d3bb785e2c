# Runs only for samples with RNA of the same cells.
rule sample_rna:
    input:
        rna=lambda wildcards: optional(sample_row(wildcards.sample)["rna"]),
        cells="results/cells/{sample}/cells.h5ad",
    output:
        counts="results/cells/{sample}/rna.h5ad",
    log:
        "logs/sample_rna/{sample}.log",
    benchmark:
        "logs/sample_rna/{sample}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000, 10),
        runtime=runtime(60),
    params:
        files=lambda wildcards: sample_states(wildcards.sample, "rna"),
        code=source_digest("cells.rna", script="sample_rna"),
    script:
        "../scripts/sample_rna.py"


# site_genes, tf_active, tf_links and cell_regulation run only if the configuration sets genome.genes and binding is kept.
rule site_genes:
    input:
        peaks=per_sample("results/cells/{sample}/peaks.h5ad", PLAN.binding_samples),
        rna=per_sample("results/cells/{sample}/rna.h5ad", RNA_SAMPLES),
        genes=optional(SETTINGS["genome"]["genes"]),
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        table="results/analysis/site_genes.tsv",
        arrays="results/analysis/site_genes.npz",
    log:
        "logs/site_genes/sites.log",
    benchmark:
        "logs/site_genes/sites.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000, 4),
        runtime=runtime(240),
    params:
        options={
            "half_decay": SETTINGS["analysis"]["targets"]["half_decay"],
            "max_distance": SETTINGS["analysis"]["targets"]["max_distance"],
        },
        files=key_states("genome/genes"),
        code=source_digest("analysis.sitegenes", script="site_genes"),
    script:
        "../scripts/site_genes.py"


rule tf_active:
    input:
        activity=per_sample("results/activity/{sample}.h5ad", PLAN.binding_samples),
        expression=optional(EXPRESSION_TABLE),
    output:
        matrix="results/analysis/tf_active.h5ad",
    log:
        "logs/tf_active/active.log",
    benchmark:
        "logs/tf_active/active.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000, 4),
        runtime=runtime(60),
    params:
        code=source_digest("analysis.tfactive", script="tf_active"),
    script:
        "../scripts/tf_active.py"


rule tf_links:
    input:
        binding=per_sample("results/binding/{sample}.zarr", PLAN.binding_samples),
        cells=per_sample("results/cells/{sample}/cells.h5ad", PLAN.binding_samples),
        windows="results/binding/windows.npz",
        genes=optional(SETTINGS["genome"]["genes"]),
        sizes=f"{REFERENCE}/chrom.sizes",
        sites="results/analysis/site_genes.npz",
        active="results/analysis/tf_active.h5ad",
    output:
        table=report(
            "results/analysis/links.tsv",
            caption="../report/links.rst",
            category="Analysis",
        ),
        network="results/analysis/network.tsv",
    log:
        "logs/tf_links/links.log",
    benchmark:
        "logs/tf_links/links.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=runtime(240, cells=4),
    params:
        options={
            "half_decay": SETTINGS["analysis"]["targets"]["half_decay"],
            "max_distance": SETTINGS["analysis"]["targets"]["max_distance"],
            "min_potential": SETTINGS["analysis"]["links"]["min_potential"],
            "max_fdr": SETTINGS["analysis"]["links"]["max_fdr"],
            "top": SETTINGS["analysis"]["links"]["top"],
        },
        min_cells=lookup("analysis/min_cells", within=SETTINGS),
        files=key_states("genome/genes"),
        code=source_digest("analysis.links", script="tf_links"),
    script:
        "../scripts/tf_links.py"


rule cell_regulation:
    input:
        binding="results/binding/{sample}.zarr",
        windows="results/binding/windows.npz",
        sites="results/analysis/site_genes.npz",
        links="results/analysis/links.tsv",
        active="results/analysis/tf_active.h5ad",
    output:
        matrix="results/analysis/regulation/{sample}.h5ad",
    log:
        "logs/cell_regulation/{sample}.log",
    benchmark:
        "logs/cell_regulation/{sample}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=runtime(240),
    params:
        options={key: SETTINGS["analysis"]["links"][key] for key in ("max_fdr", "cell_links")},
        code=source_digest("analysis.regulation", script="cell_regulation"),
    script:
        "../scripts/cell_regulation.py"


# Runs only if a sample has RNA of the same cells.
rule tf_expression:
    input:
        activity=per_sample("results/activity/{sample}.h5ad", RNA_SAMPLES),
        rna=per_sample("results/cells/{sample}/rna.h5ad", RNA_SAMPLES),
    output:
        table=report(
            "results/analysis/tf_expression.tsv",
            caption="../report/tf_expression.rst",
            category="Analysis",
        ),
    log:
        "logs/tf_expression/expression.log",
    benchmark:
        "logs/tf_expression/expression.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000, 4),
        runtime=runtime(60),
    params:
        min_cells=lookup("analysis/min_cells", within=SETTINGS),
        taxon=lookup("motifs/taxon", within=SETTINGS),
        code=source_digest("analysis.expression", script="tf_expression"),
    script:
        "../scripts/tf_expression.py"
