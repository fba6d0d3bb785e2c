# How well TFs without ChIP-seq are predicted: TFs that have ChIP-seq are left out of a training and tested. Runs only if
# evaluate.left_out_tfs asks for it, because it trains a model once more per fold of TFs.


use rule train_shared_model as train_left_out with:
    output:
        weights="results/models/{model}/left_out/{fold}/trained.safetensors",
        history="results/models/{model}/left_out/{fold}/training.csv",
    log:
        "logs/train_left_out/{model}.{fold}.log",
    benchmark:
        "logs/train_left_out/{model}.{fold}.benchmark.tsv"
    wildcard_constraints:
        model=one_of(LEFT_OUT_OF),
        fold=r"\d+",
    params:
        folds=lookup("evaluate/left_out_tfs", within=SETTINGS),
        seed=lookup("evaluate/seed", within=SETTINGS),


# Adds the TFs that were left out as TFs without ChIP-seq are added, calibrates them alike, and scores them.
rule evaluate_left_out:
    input:
        REFERENCE_FILES,
        mappability=MAPPABILITY,
        trained="results/models/{model}/left_out/{fold}/trained.safetensors",
        known="results/motifs/motifs.npz",
        dataset="results/dataset",
    output:
        weights="results/models/{model}/left_out/{fold}/model.safetensors",
        calibration="results/models/{model}/left_out/{fold}/calibration.json",
        metrics="results/models/{model}/left_out/{fold}/metrics.tsv",
        depth="results/models/{model}/left_out/{fold}/depth.tsv",
    log:
        "logs/evaluate_left_out/{model}.{fold}.log",
    benchmark:
        "logs/evaluate_left_out/{model}.{fold}.benchmark.tsv"
    wildcard_constraints:
        model=one_of(LEFT_OUT_OF),
        fold=r"\d+",
    conda:
        "../../envs/train.yaml"
    threads: 8
    resources:
        gpu=GPU,
        mem_mb=memory(6000),
        runtime=runtime(720),
    params:
        reference=subpath(input[0], parent=True),
        valid_windows=lambda wildcards: SETTINGS["models"][wildcards.model]["valid_windows"],
        calibration_seed=lambda wildcards: SETTINGS["models"][wildcards.model]["seed"],
        test_windows=lambda wildcards: SETTINGS["models"][wildcards.model]["test_windows"]
        or SETTINGS["evaluate"]["test_windows"],
        depth_windows=lambda wildcards: SETTINGS["models"][wildcards.model]["depth_windows"]
        or SETTINGS["evaluate"]["depth_windows"],
        keeps=lookup("evaluate/depths", within=SETTINGS),
        seed=lookup("evaluate/seed", within=SETTINGS),
        code=source_digest("evaluation.leftout", script="evaluate_left_out"),
    script:
        "../scripts/evaluate_left_out.py"


# Joins the folds, with the same TFs seen, and the baselines, beside them.
rule join_left_out:
    input:
        folds=expand("results/models/{model}/left_out/{fold}/metrics.tsv", model=LEFT_OUT_OF, fold=FOLDS),
        depths=expand("results/models/{model}/left_out/{fold}/depth.tsv", model=LEFT_OUT_OF, fold=FOLDS),
        metrics="results/evaluation/metrics.tsv",
    output:
        table="results/evaluation/left_out_tfs.tsv",
        depth="results/evaluation/left_out_depth.tsv",
    log:
        "logs/join_left_out/left_out.log",
    benchmark:
        "logs/join_left_out/left_out.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        code=source_digest("evaluation.leftouttable", script="join_left_out"),
    script:
        "../scripts/join_left_out.py"
