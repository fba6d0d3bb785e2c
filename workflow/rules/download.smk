# Fetches one row of config/sources.tsv, or one address from a sheet. An interrupted download is resumed. Size and
# checksums are compared if they are given.
DOWNLOADS = 4  # at a time, so that no publisher gets more requests than a browser makes

# Snakemake does not bound a resource without a limit. A limit of the user, in a profile or on the command line, stands.
if "downloads" not in workflow.global_resources:
    workflow.register_resource("downloads", DOWNLOADS)


rule fetch_source:
    output:
        file="resources/{source}",
    log:
        "logs/fetch_source/{source}.log",
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
        mem_mb=500,
        runtime=240,
        downloads=1,
    params:
        asked=lambda wildcards: asked_for(PLAN.sources[wildcards.source], f"resources/{wildcards.source}"),
        # Snakemake does not compare a parameter that depends on the output. `asked` decides what is fetched again.
        row=lambda wildcards, output: PLAN.sources[wildcards.source],
    script:
        "../scripts/fetch_source.py"


def say_pending():
    """Say what the downloads of a dry run come to."""
    if workflow.dryrun and workflow.dag:
        jobs = workflow.dag.needrun_jobs(exclude_finished=False)
        names = [job.wildcards.source for job in jobs if job.rule.name.endswith("fetch_source")]
        if names:
            print(pending_line({name: PLAN.sources[name] for name in names}), file=sys.stderr)


# Snakemake has no hook for the end of a dry run. Before, it is not known which files the targets need.
if workflow.is_main_process:
    atexit.register(say_pending)
