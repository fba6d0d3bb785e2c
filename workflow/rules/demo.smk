# Simulates the example. The outputs are all files of the example, including those that the sheets do not name.
rule simulate_demo:
    output:
        [f"resources/demo/{name}" for name in demo_files() if not name.startswith("truth/")],
        truth=directory("resources/demo/truth"),
    log:
        "logs/simulate_demo/demo.log",
    benchmark:
        "logs/simulate_demo/demo.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(3000),
        runtime=runtime(30),
    params:
        options=SETTINGS["demo"],
        code=source_digest("demo.simulate", script="simulate_demo"),
    script:
        "../scripts/simulate_demo.py"


# Simulates the cohort. It has the genome of the demo, so the demo's model serves it.
rule simulate_cohort:
    output:
        [
            f"resources/cohort/{name}"
            for name in cohort_files(SETTINGS["cohort"]["donors"])
            if not name.startswith("truth/")
        ],
        truth=directory("resources/cohort/truth"),
    log:
        "logs/simulate_cohort/cohort.log",
    benchmark:
        "logs/simulate_cohort/cohort.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(6000),
        runtime=runtime(60),
    params:
        options=SETTINGS["cohort"],
        seed=SETTINGS["demo"]["seed"],
        chromosome_mb=SETTINGS["demo"]["chromosome_mb"],
        code=source_digest("demo.simulate_cohort", script="simulate_cohort"),
    script:
        "../scripts/simulate_cohort.py"
