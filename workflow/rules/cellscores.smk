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
    # The longest of the jobs that follow the predictions.
    priority: 1
    conda:
        "../../envs/train.yaml"
    threads: 4
    resources:
        mem_mb=memory(4000),
        runtime=runtime(120),
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
        runtime=runtime(60),
    params:
        seed=lookup("evaluate/seed", within=SETTINGS),
        files=key_states("evaluate/truth"),
        code=source_digest("demo.typescores", script="score_types"),
    script:
        "../scripts/score_types.py"


# Runs only if the configuration sets evaluate.cohort_truth: for the simulated cohort.
rule score_cohort:
    input:
        truth=optional(SETTINGS["evaluate"]["cohort_truth"]),
        cells=per_sample("results/cells/{sample}/cells.h5ad", PLAN.binding_samples),
        populations="results/analysis/populations.tsv",
        population_cells="results/analysis/population_cells.tsv",
        abundance="results/analysis/abundance.tsv",
        links=optional(LINK_TABLE),
        regulation=regulation(),
        sites=optional(DIFFERENTIAL_SITES),
    output:
        links="results/evaluation/cohort_links.tsv",
        populations="results/evaluation/cohort_populations.tsv",
    log:
        "logs/score_cohort/cohort.log",
    benchmark:
        "logs/score_cohort/cohort.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=runtime(60),
    params:
        files=key_states("evaluate/cohort_truth"),
        code=source_digest("demo.cohortscore", script="score_cohort"),
    script:
        "../scripts/score_cohort.py"


# chromVAR on the same cells, which TF activity is compared with. It uses motif matches and counts in peaks, and no network.
rule chromvar:
    input:
        REFERENCE_FILES,
        peaks="results/cells/{sample}/peaks.h5ad",
        lenders="results/cells/{sample}/lenders.h5ad",
        motifs=known_motifs(INFER_MODEL),
    output:
        deviations="results/evaluation/chromvar/{sample}.h5ad",
    log:
        "logs/chromvar/{sample}.log",
    benchmark:
        "logs/chromvar/{sample}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=runtime(240),
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
        separation="results/evaluation/activity_types.tsv",
    log:
        "logs/compare_activity/activity.log",
    benchmark:
        "logs/compare_activity/activity.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000, 4),
        runtime=runtime(60),
    params:
        samples=PLAN.binding_samples,
        seed=lookup("evaluate/seed", within=SETTINGS),
        code=source_digest("analysis.activitymethods", script="compare_activity"),
    script:
        "../scripts/compare_activity.py"
