# Targets that a user can request by name: snakemake download, peaks, train, bundle, infer, evaluate, report. The
# default target, rule all, is in the Snakefile.


rule download:
    input:
        PLAN.downloads(),
    localrule: True


rule peaks:
    input:
        "results/peaks/consensus.bed",
        optional(PEAK_ANNOTATION),
        per_type("results/pseudobulk/{slug}/peaks.narrowPeak"),
        per_sample("results/cells/{sample}/peaks.h5ad", PLAN.samples),
        per_type("results/pseudobulk/{slug}/coverage.bw"),
        replicate_folders,
    localrule: True


rule train:
    input:
        expand("results/models/{model}/calibration.json", model=MODELS),
    localrule: True


# One file per trained model, which others can apply without training.
rule bundle:
    input:
        bundles_to_make,
    localrule: True


rule infer:
    input:
        binding_stores(),
        per_sample("results/activity/{sample}.h5ad", PLAN.binding_samples),
        type_tracks(),
    localrule: True


rule evaluate:
    input:
        ["results/evaluation/metrics.tsv", "results/evaluation/depth.tsv"] if HAS_DATASET else [],
        expand("results/models/{model}/card.md", model=MODELS),
        optional(ACTIVITY_TABLE),
        TRUTH_TABLES,
        COHORT_TABLES,
    localrule: True


rule report:
    input:
        "results/report.html",
        "results/browser/hub.txt",
        optional(LOCI_PAGE),
        "results/cells/quality_mqc.tsv",
        PROVENANCE,
    localrule: True
