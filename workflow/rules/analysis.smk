rule differential_tfs:
    input:
        activity=per_sample("results/activity/{sample}.h5ad", PLAN.binding_samples),
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
        runtime=60,
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
    threads: 4
    resources:
        mem_mb=memory(4000, 8),
        runtime=480,
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
        runtime=60,
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
        runtime=240,
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
        runtime=120,
    params:
        options=SETTINGS["analysis"]["targets"],
        min_cells=lookup("analysis/min_cells", within=SETTINGS),
        files=key_states("genome/genes"),
        code=source_digest("analysis.targets", script="tf_targets"),
    script:
        "../scripts/tf_targets.py"


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
        runtime=240,
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
        runtime=60,
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
        runtime=240,
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
        runtime=240,
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
        runtime=60,
    params:
        min_cells=lookup("analysis/min_cells", within=SETTINGS),
        code=source_digest("analysis.expression", script="tf_expression"),
    script:
        "../scripts/tf_expression.py"


rule motif_enrichment:
    input:
        REFERENCE_FILES,
        binding=per_sample("results/binding/{sample}.zarr", PLAN.binding_samples),
        cells=per_sample("results/cells/{sample}/cells.h5ad", PLAN.binding_samples),
        windows="results/binding/windows.npz",
        motifs=CELL_MOTIFS,
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
        runtime=120,
    params:
        reference=subpath(input[0], parent=True),
        options=SETTINGS["analysis"]["motifs"],
        min_cells=lookup("analysis/min_cells", within=SETTINGS),
        code=source_digest("analysis.enrichment", script="motif_enrichment"),
    script:
        "../scripts/motif_enrichment.py"


# score_cells and score_types run only if the configuration sets evaluate.truth. The demo sets it, because there every
# binding event is known.
rule score_cells:
    input:
        REFERENCE_FILES,
        mappability=MAPPABILITY,
        truth=optional(SETTINGS["evaluate"]["truth"]),
        binding=f"results/binding/{TRUTH_SAMPLE}.zarr",
        position=f"results/cells/{TRUTH_SAMPLE}/position.npy",
        cell=f"results/cells/{TRUTH_SAMPLE}/cell.npy",
        lenders=f"results/cells/{TRUTH_SAMPLE}/lenders.h5ad",
        windows="results/binding/windows.npz",
        weights=expand("results/models/{model}/model.safetensors", model=MODELS[1:]),
        calibrations=expand("results/models/{model}/calibration.json", model=MODELS[1:]),
    output:
        table="results/evaluation/cells.tsv",
    log:
        "logs/score_cells/cells.log",
    benchmark:
        "logs/score_cells/cells.benchmark.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 4
    resources:
        mem_mb=memory(4000),
        runtime=120,
    params:
        reference=subpath(input[0], parent=True),
        options={key: SETTINGS["evaluate"][key] for key in ("max_cells", "network_cells", "seed")}
        | {"held_out": held_out_chromosomes(), "model": INFER_MODEL},
        networks=MODELS[1:],
        files=key_states("evaluate/truth"),
        code=source_digest("demo.truth", script="score_cells"),
    script:
        "../scripts/score_cells.py"


rule score_types:
    input:
        truth=optional(SETTINGS["evaluate"]["truth"]),
        activity=f"results/activity/{TRUTH_SAMPLE}.h5ad",
        cells=f"results/cells/{TRUTH_SAMPLE}/cells.h5ad",
        chromvar=optional(f"results/evaluation/chromvar/{TRUTH_SAMPLE}.h5ad" if ACTIVITY_TABLE else None),
    output:
        table="results/evaluation/types.tsv",
    log:
        "logs/score_types/types.log",
    benchmark:
        "logs/score_types/types.benchmark.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        seed=lookup("evaluate/seed", within=SETTINGS),
        files=key_states("evaluate/truth"),
        code=source_digest("demo.truth", script="score_types"),
    script:
        "../scripts/score_types.py"


# chromVAR on the same cells, which TF activity is compared with. It uses motif matches and counts in peaks, and no network.
rule chromvar:
    input:
        REFERENCE_FILES,
        peaks="results/cells/{sample}/peaks.h5ad",
        lenders="results/cells/{sample}/lenders.h5ad",
        motifs=CELL_MOTIFS,
    output:
        deviations="results/evaluation/chromvar/{sample}.h5ad",
    log:
        "logs/chromvar/{sample}.log",
    benchmark:
        "logs/chromvar/{sample}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=240,
    params:
        reference=subpath(input[0], parent=True),
        seed=lookup("evaluate/seed", within=SETTINGS),
        code=source_digest("analysis.chromvar", script="chromvar"),
    script:
        "../scripts/chromvar.py"


rule compare_activity:
    input:
        activity=per_sample("results/activity/{sample}.h5ad", PLAN.binding_samples),
        chromvar=per_sample("results/evaluation/chromvar/{sample}.h5ad", PLAN.binding_samples),
    output:
        table="results/evaluation/activity.tsv",
    log:
        "logs/compare_activity/activity.log",
    benchmark:
        "logs/compare_activity/activity.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000, 4),
        runtime=60,
    params:
        samples=PLAN.binding_samples,
        seed=lookup("evaluate/seed", within=SETTINGS),
        code=source_digest("analysis.activitymethods", script="compare_activity"),
    script:
        "../scripts/compare_activity.py"
