# Scores a model on all test windows of every assayed line, or on a sample of them.
rule evaluate_model:
    input:
        REFERENCE_FILES,
        mappability=MAPPABILITY,
        weights="results/models/{model}/model.safetensors",
        calibration="results/models/{model}/calibration.json",
        dataset="results/dataset",
    output:
        metrics="results/models/{model}/metrics.tsv",
        curves="results/models/{model}/curves.npz",
    log:
        "logs/evaluate_model/{model}.log",
    benchmark:
        "logs/evaluate_model/{model}.benchmark.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 8
    resources:
        gpu=GPU,
        mem_mb=memory(6000),
        runtime=runtime(720),
    params:
        reference=subpath(input[0], parent=True),
        max_windows=lambda wildcards: SETTINGS["models"][wildcards.model]["test_windows"]
        or SETTINGS["evaluate"]["test_windows"],
        seed=lookup("evaluate/seed", within=SETTINGS),
        given=lambda wildcards: wildcards.model in GIVEN,
        case_matters=CASE_MATTERS,
        code=source_digest("evaluation.evaluate", script="evaluate_model"),
    script:
        "../scripts/evaluate_model.py"


# Scores a model on test windows with fewer and fewer insertions, down to the depth of a single cell.
rule evaluate_depth:
    input:
        REFERENCE_FILES,
        mappability=MAPPABILITY,
        weights="results/models/{model}/model.safetensors",
        calibration="results/models/{model}/calibration.json",
        dataset="results/dataset",
    output:
        depth="results/models/{model}/depth.tsv",
    log:
        "logs/evaluate_depth/{model}.log",
    benchmark:
        "logs/evaluate_depth/{model}.benchmark.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 8
    resources:
        mem_mb=memory(4000),
        runtime=runtime(240),
    params:
        reference=subpath(input[0], parent=True),
        depths=lookup("evaluate/depths", within=SETTINGS),
        max_windows=lambda wildcards: SETTINGS["models"][wildcards.model]["depth_windows"]
        or SETTINGS["evaluate"]["depth_windows"],
        seed=lookup("evaluate/seed", within=SETTINGS),
        given=lambda wildcards: wildcards.model in GIVEN,
        case_matters=CASE_MATTERS,
        code=source_digest("evaluation.depth", script="evaluate_depth"),
    script:
        "../scripts/evaluate_depth.py"


# The model card: what the model is, what it was trained on, and how accurate it is.
rule model_card:
    input:
        weights="results/models/{model}/model.safetensors",
        calibration="results/models/{model}/calibration.json",
        metrics="results/models/{model}/metrics.tsv",
        comparison="results/evaluation/metrics.tsv",
        left_out=lambda wildcards: optional(LEFT_OUT_TABLE if wildcards.model in LEFT_OUT_OF else None),
        found=lambda wildcards: optional(
            "results/motifs/found.tsv" if wildcards.model in STARTS_FROM_MOTIFS else None
        ),
        learned=lambda wildcards: optional(
            f"results/models/{wildcards.model}/learned_motifs.tsv"
            if wildcards.model in STARTS_FROM_MOTIFS
            else None
        ),
        dataset="results/dataset",
    output:
        card="results/models/{model}/card.md",
    log:
        "logs/model_card/{model}.log",
    benchmark:
        "logs/model_card/{model}.benchmark.tsv"
    wildcard_constraints:
        model=one_of(TRAINED),
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=runtime(20),
    params:
        training=lambda wildcards: {
            k: v for k, v in SETTINGS["models"][wildcards.model].items() if k not in NOT_OF_TRAINING
        },
        start=lambda wildcards: (
            "starts_known" if SETTINGS["models"][wildcards.model]["motifs"] else "starts_found"
        ),
        template=template_digest("card.md.j2"),
        code=source_digest("report.card", script="model_card"),
    script:
        "../scripts/model_card.py"


rule merge_metrics:
    input:
        models=expand("results/models/{model}/metrics.tsv", model=TESTED),
        baselines="results/evaluation/baselines.tsv",
        oracle=expand("results/evaluation/{name}.tsv", name=ORACLE),
        published=expand("results/evaluation/published/{name}.tsv", name=PUBLISHED),
    output:
        metrics=report(
            "results/evaluation/metrics.tsv",
            caption="../report/metrics.rst",
            category="Evaluation",
        ),
    log:
        "logs/merge_metrics/metrics.log",
    benchmark:
        "logs/merge_metrics/metrics.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        code=source_digest("evaluation.merge", script="merge_metrics"),
    script:
        "../scripts/merge_metrics.py"


# Accuracy against depth, and the number of fragments that each TF needs.
rule merge_depths:
    input:
        REFERENCE_FILES,
        models=expand("results/models/{model}/depth.tsv", model=TESTED),
        baselines="results/evaluation/baselines_depth.tsv",
    output:
        depth="results/evaluation/depth.tsv",
        needed="results/evaluation/fragments_needed.tsv",
    log:
        "logs/merge_depths/depth.log",
    benchmark:
        "logs/merge_depths/depth.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        reference=subpath(input[0], parent=True),
        code=source_digest("evaluation.merge", script="merge_depths"),
    script:
        "../scripts/merge_depths.py"
