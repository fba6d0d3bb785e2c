# Runs only if the configuration sets variants.path.
rule variant_effects:
    input:
        REFERENCE_FILES,
        mappability=MAPPABILITY,
        variants=optional(SETTINGS["variants"]["path"]),
        weights=f"results/models/{INFER_MODEL}/model.safetensors",
        calibration=f"results/models/{INFER_MODEL}/calibration.json",
        position=per_sample("results/cells/{sample}/position.npy", PLAN.binding_samples),
        cell=per_sample("results/cells/{sample}/cell.npy", PLAN.binding_samples),
        cells=per_sample("results/cells/{sample}/cells.h5ad", PLAN.binding_samples),
    output:
        table=report(
            "results/analysis/variants.tsv",
            caption="../report/variants.rst",
            category="Analysis",
        ),
        strongest="results/analysis/variants_strongest.tsv",
    log:
        "logs/variant_effects/variants.log",
    benchmark:
        "logs/variant_effects/variants.benchmark.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 4
    resources:
        mem_mb=memory(4000),
        runtime=runtime(240),
    params:
        reference=subpath(input[0], parent=True),
        samples=PLAN.binding_samples,
        options={key: SETTINGS["variants"][key] for key in ("min_difference", "min_probability")}
        | {"min_cells": SETTINGS["analysis"]["min_cells"]},
        files=key_states("variants/path"),
        code=source_digest("analysis.variants", script="variant_effects"),
    script:
        "../scripts/variant_effects.py"


# This rule and the next run only if the configuration has questions in explain.
rule explain_loci:
    input:
        REFERENCE_FILES,
        mappability=MAPPABILITY,
        weights=f"results/models/{INFER_MODEL}/model.safetensors",
        calibration=f"results/models/{INFER_MODEL}/calibration.json",
        position=per_sample("results/cells/{sample}/position.npy", PLAN.binding_samples),
        cell=per_sample("results/cells/{sample}/cell.npy", PLAN.binding_samples),
        cells=per_sample("results/cells/{sample}/cells.h5ad", PLAN.binding_samples),
    output:
        table="results/analysis/explain.tsv",
    log:
        "logs/explain_loci/explain.log",
    conda:
        "../../envs/train.yaml"
    threads: 4
    resources:
        mem_mb=memory(4000),
        runtime=runtime(60),
    params:
        reference=subpath(input[0], parent=True),
        samples=PLAN.binding_samples,
        questions=SETTINGS["explain"],
        min_cells=lookup("analysis/min_cells", within=SETTINGS),
        code=source_digest("analysis.explain", script="explain_loci"),
    script:
        "../scripts/explain_loci.py"


rule draw_explained:
    input:
        table="results/analysis/explain.tsv",
    output:
        figures=report(
            directory("results/analysis/explain"),
            patterns=["{figure}.png"],
            caption="../report/explain.rst",
            category="Analysis",
            labels={"figure": "{figure}"},
        ),
    log:
        "logs/draw_explained/explain.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=runtime(60),
    params:
        code=source_digest("report.logoplot", script="draw_explained"),
    script:
        "../scripts/draw_explained.py"
