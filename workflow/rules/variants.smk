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
        runtime=240,
    params:
        reference=subpath(input[0], parent=True),
        samples=PLAN.binding_samples,
        options={key: SETTINGS["variants"][key] for key in ("min_difference", "min_probability")}
        | {"min_cells": SETTINGS["analysis"]["min_cells"]},
        files=key_states("variants/path"),
        code=source_digest("analysis.variants", script="variant_effects"),
    script:
        "../scripts/variant_effects.py"
