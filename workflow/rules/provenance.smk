# Records what the results were made from: settings, sheets, digests of the code, checksums of the inputs, versions.
from scbind.plan.digests import list_modules

ENVIRONMENTS = ["core", "peaks", "train"]
PROVENANCE = [
    "results/provenance/config.yaml",
    "results/provenance/sheets.tsv",
    "results/provenance/environments.tsv",
    "results/provenance/digests.tsv",
    "results/provenance/inputs.tsv",
    expand("results/provenance/versions/{environment}.tsv", environment=ENVIRONMENTS),
]


rule record_provenance:
    input:
        data=PLAN.inputs(),
        # Snakemake reads the sheets from the local disk when it starts, so they are never in remote storage.
        sheets=[local(path) for path in PLAN.sheets.values()],
    output:
        config=report("results/provenance/config.yaml", category="Provenance"),
        sheets="results/provenance/sheets.tsv",
        environments=report("results/provenance/environments.tsv", category="Provenance"),
        digests="results/provenance/digests.tsv",
        inputs=report("results/provenance/inputs.tsv", category="Provenance"),
    log:
        "logs/record_provenance/provenance.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=runtime(120),
    params:
        config=SETTINGS,
        sheets=list(PLAN.sheets),
        environments=rule_environments,
        # All modules of the package: the record is written again when any of them changes.
        files=lambda wildcards: states(*PLAN.inputs()),
        code=source_digest(*list_modules(), script="record_provenance"),
    script:
        "../scripts/record_provenance.py"


# Runs in the environment whose versions it records. With --sdm conda, each environment has its own packages.
rule record_versions:
    output:
        versions=report("results/provenance/versions/{environment}.tsv", category="Provenance"),
    log:
        "logs/record_versions/{environment}.log",
    wildcard_constraints:
        environment=one_of(ENVIRONMENTS),
    conda:
        "../../envs/{environment}.yaml"
    resources:
        mem_mb=memory(500),
        runtime=runtime(10),
    params:
        code=source_digest("plan.versions", script="record_versions"),
    script:
        "../scripts/record_versions.py"
