# Downloads one row of config/sources.tsv, or one address from a sheet. An interrupted download is resumed. The checksum
# is checked if one is given.
rule download:
    output:
        file="resources/{source}",
    log:
        "logs/download/{source}.log",
    wildcard_constraints:
        source=one_of(PLAN.sources),
    retries: 2
    localrule: True
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=500,
        runtime=240,
    params:
        url=lookup("{source}/url", within=PLAN.sources),
        sha256=lookup("{source}/sha256", within=PLAN.sources),
    script:
        "../scripts/download.py"
