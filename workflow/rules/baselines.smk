# Scores the baselines (predictors without a network) on the same windows.
rule evaluate_baselines:
    input:
        REFERENCE_FILES,
        dataset="results/dataset",
        motifs="results/motifs/motifs.npz",
        given=ALL_GIVEN,
    output:
        metrics="results/evaluation/baselines.tsv",
        depth="results/evaluation/baselines_depth.tsv",
        curves=expand("results/evaluation/baselines/{name}.npz", name=BASELINES),
    log:
        "logs/evaluate_baselines/baselines.log",
    benchmark:
        "logs/evaluate_baselines/baselines.benchmark.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 8
    resources:
        mem_mb=memory(8000),
        runtime=runtime(240),
    params:
        reference=subpath(input[0], parent=True),
        names=BASELINES,
        depths=lookup("evaluate/depths", within=SETTINGS),
        max_windows=lookup("evaluate/depth_windows", within=SETTINGS),
        test_windows=lookup("evaluate/test_windows", within=SETTINGS),
        seed=lookup("evaluate/seed", within=SETTINGS),
        code=source_digest("evaluation.baselines", script="evaluate_baselines"),
    script:
        "../scripts/evaluate_baselines.py"


# Scores the oracle, an upper bound for all models. Runs only for the simulated example.
rule evaluate_oracle:
    input:
        REFERENCE_FILES,
        truth=optional(SETTINGS["evaluate"]["truth"]),
        dataset="results/dataset",
        given=ALL_GIVEN,
    output:
        metrics="results/evaluation/oracle.tsv",
        curves="results/evaluation/oracle.npz",
    log:
        "logs/evaluate_oracle/oracle.log",
    benchmark:
        "logs/evaluate_oracle/oracle.benchmark.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=runtime(60),
    params:
        reference=subpath(input[0], parent=True),
        files=key_states("evaluate/truth"),
        code=source_digest("demo.oracle", script="evaluate_oracle"),
    script:
        "../scripts/evaluate_oracle.py"


# Published figures of another method, where this run holds out the same cell lines and the same chromosome.
rule match_published:
    input:
        models=expand("results/models/{model}/metrics.tsv", model=TESTED),
        baselines="results/evaluation/baselines.tsv",
    output:
        metrics="results/evaluation/published/{published}.tsv",
    log:
        "logs/match_published/{published}.log",
    benchmark:
        "logs/match_published/{published}.benchmark.tsv"
    wildcard_constraints:
        published=one_of(PUBLISHED),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        table=lambda wildcards: table_digest(wildcards.published),
        code=source_digest("evaluation.published", script="match_published"),
    script:
        "../scripts/match_published.py"
