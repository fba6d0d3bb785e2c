# What these results were made from: settings, sheets, versions, digests of the code, checksums of the inputs.
rule record_provenance:
    input:
        PLAN.inputs(),
    output:
        config=report("results/provenance/config.yaml", category="Provenance"),
        sheets="results/provenance/sheets.tsv",
        versions=report("results/provenance/versions.tsv", category="Provenance"),
        digests="results/provenance/digests.tsv",
        inputs=report("results/provenance/inputs.tsv", category="Provenance"),
    log:
        "logs/record_provenance/provenance.log",
    conda:
        "../../envs/dev.yaml"
    resources:
        mem_mb=1000,
        runtime=120,
    params:
        config=SETTINGS,
        sheets=PLAN.sheets,
        # All of our modules: the record is renewed whenever any of them changes.
        code=source_digest(*list_modules()),
    script:
        "../scripts/record_provenance.py"
