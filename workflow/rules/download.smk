# Fetches one row of config/sources.tsv, or one address from a sheet. An interrupted download is resumed. Size and
# checksums are compared if they are given.
from scbind.plan.receipts import asked_for

DOWNLOADS = 4  # at a time, so that no publisher gets more requests than a browser makes

# Snakemake does not bound a resource without a limit. A limit of the user, in a profile or on the command line, stands.
if "downloads" not in workflow.global_resources:
    workflow.register_resource("downloads", DOWNLOADS)


rule fetch_source:
    output:
        file="resources/{source}",
    log:
        "logs/fetch_source/{source}.log",
    benchmark:
        "logs/fetch_source/{source}.benchmark.tsv"
    wildcard_constraints:
        source=one_of(PLAN.sources),
    # The script itself tries again. What it refuses stays refused.
    retries: 0
    localrule: True
    conda:
        "../../envs/core.yaml"
    # A download waits for the network, so it takes no core from other jobs.
    threads: 0
    resources:
        mem_mb=memory(500),
        runtime=runtime(240),
        downloads=1,
    params:
        asked=lambda wildcards: asked_for(PLAN.sources[wildcards.source], f"resources/{wildcards.source}"),
        # Snakemake does not compare a parameter that depends on the output. `asked` decides what is fetched again.
        row=lambda wildcards, output: PLAN.sources[wildcards.source],
        timeout=lambda wildcards, output: SETTINGS["downloads"]["timeout"],
    script:
        "../scripts/fetch_source.py"
