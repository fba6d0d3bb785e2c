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
        mem_mb=3000,
        runtime=30,
    params:
        options=SETTINGS["demo"],
        code=source_digest("demo.simulate", script="simulate_demo"),
    script:
        "../scripts/simulate_demo.py"
