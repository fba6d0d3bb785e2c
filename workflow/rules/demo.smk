# The simulated example. Its files are those that the sheets ask for below resources/demo/.
rule simulate_demo:
    output:
        sorted(PLAN.generated - {"resources/demo/truth"}),
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
        code=source_digest("demo.simulate"),
    script:
        "../scripts/simulate_demo.py"
