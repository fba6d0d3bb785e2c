# Reads and checks the configuration and the sheets. Defines the helpers that several rule files use.
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from scbind.core.errors import InputError
from scbind.dataset.splitrules import parse_rule
from scbind.demo.atlas import demo_files
from scbind.demo.cohort import cohort_files
from scbind.evaluation import registry
from scbind.formats import symbols
from scbind.plan import checks, settings, sheets
from scbind.plan.chromosomes import fasta_names
from scbind.plan.digests import (
    keep_digests,
    source_digest,
    table_digest,
    template_digest,
)
from scbind.plan.paths import COHORT_FOLDER, DEMO_FOLDER

if re.search(r"\s", sys.executable):
    raise WorkflowError(
        f"ERROR {sys.executable}: the path of Python has a space, and Snakemake cannot run scripts with it; "
        "move the checkout or the environment to a path without spaces"
    )
keep_digests(".snakemake/scbind-digests.json")
CONFIG_FILE = str((workflow.overwrite_configfiles or ["config/config.yaml"])[-1])


def genome_names():
    """Return the names of the chromosomes, or None if the FASTA is not there yet. The demo makes its own."""
    fasta = PLAN.config["genome"]["fasta"]
    if fasta.startswith(DEMO_FOLDER):
        return [f"chr{number + 1}" for number in range(len(PLAN.config["demo"]["chromosome_mb"]))]
    return fasta_names(fasta, ".snakemake/scbind-chromosomes.json")


try:
    PLAN = sheets.load_plan(settings.check_config(config, CONFIG_FILE), CONFIG_FILE)
    checks.check_simulated(
        PLAN, {DEMO_FOLDER: demo_files(), COHORT_FOLDER: cohort_files(PLAN.config["cohort"]["donors"])}
    )
    if workflow.is_main_process:  # not while a job runs
        checks.check_sizes(PLAN)
        checks.check_extended(PLAN)
    GENOME_NAMES = genome_names()
    if GENOME_NAMES:
        checks.check_chromosomes(PLAN, CONFIG_FILE, GENOME_NAMES)
except InputError as error:
    raise WorkflowError(f"ERROR {error}") from None
if workflow.is_main_process:  # not once more in every job
    for note in PLAN.notes:
        logger.info(note)
SETTINGS = PLAN.config
REFERENCE = f"results/reference/{SETTINGS['genome']['name']}"
# Every rule that reads the reference needs these three files. Their folder is passed as params.reference.
REFERENCE_FILES = multiext(f"{REFERENCE}/", "chrom.sizes", "sequence.npy", "exclude.bed")
# Without a mappability bigWig, every base counts as mappable and windows have no minimum mappability.
MAPPABILITY = [f"{REFERENCE}/mappability.npy"] if SETTINGS["genome"]["mappability"] else []
GEOMETRY = SETTINGS["dataset"] | ({} if MAPPABILITY else {"min_mappability": None})
EXPERIMENTS = GEOMETRY.pop("experiments")  # how the ChIP-seq experiments of one TF and line are joined
# Whether TFs whose symbols differ only in case are different TFs.
CASE_MATTERS = symbols.case_matters(SETTINGS["motifs"]["taxon"])
INFER_MODEL = SETTINGS["infer"]["model"]
# Models that are trained here, those of them to which TFs without ChIP-seq can be added, and models that a bundle gives.
# Without cell lines, no model is trained or tested.
TRAINED, SHARED, GIVEN, HAS_DATASET = PLAN.trained, PLAN.shared, PLAN.given, PLAN.has_dataset
EXTENDED = PLAN.extended  # trained model -> the bundle that it extends
GROUPS = PLAN.groups  # once: it is made again each time that it is asked for
# Models that are trained again without some of the TFs, to test them on these, and the folds of TFs.
FOLDS = range(1, SETTINGS["evaluate"]["left_out_tfs"] + 1)
LEFT_OUT_OF = SHARED if FOLDS else []
LEFT_OUT_TABLE = "results/evaluation/left_out_tfs.tsv" if LEFT_OUT_OF else None
# Trained models that start from motif matrices; scfan has none.
STARTS_FROM_MOTIFS = [name for name in PLAN.trained if SETTINGS["models"][name]["architecture"] == "scbind"]
MODELS = [INFER_MODEL, *(name for name in SETTINGS["models"] if name != INFER_MODEL)]
TESTED = MODELS if HAS_DATASET else []
# If no model is trained here, the kinds of holdout of the baselines are those of the model that a bundle gives.
ALL_GIVEN = [] if TRAINED else expand("results/models/{model}/bundle.json", model=GIVEN)
# Accuracy of the model for cells: measured here, or as its maker stated it.
ACCURACY = f"results/models/{INFER_MODEL}/{'metrics' if HAS_DATASET else 'stated_metrics'}.tsv"
BASELINES = list(registry.BASELINES) if HAS_DATASET else []
# Without evaluate.truth there is no comparison with the truth; without genome.genes there are no target genes. With
# `infer.store: activity` no sites are kept, so rules that read the binding store do not run.
KEEP_SITES = SETTINGS["infer"]["store"] == "all"
# Marks the path of what is predicted for a part of the cells of a sample.
PART = str if SETTINGS["infer"]["keep_parts"] else temp
TRUTH_TABLES = (
    expand("results/evaluation/{table}.tsv", table=["cells", "types"] if KEEP_SITES else ["types"])
    if SETTINGS["evaluate"]["truth"]
    else []
)
# Without evaluate.cohort_truth, links and populations are not compared with the truth.
COHORT_TABLES = (
    expand("results/evaluation/cohort_{table}.tsv", table=["links", "populations"])
    if SETTINGS["evaluate"]["cohort_truth"]
    else []
)
ORACLE = [registry.ORACLE] if SETTINGS["evaluate"]["truth"] and HAS_DATASET else []
# Published figures that metrics and report show beside those of this run.
PUBLISHED = [SETTINGS["evaluate"]["published"]] if SETTINGS["evaluate"]["published"] and HAS_DATASET else []
TARGET_TABLE = "results/analysis/tf_targets.tsv" if SETTINGS["genome"]["genes"] and KEEP_SITES else None
# Samples with RNA of the same cells; without any, no rule about RNA runs.
RNA_SAMPLES = [name for name in PLAN.binding_samples if PLAN.samples[name]["rna"]]
EXPRESSION_TABLE = "results/analysis/tf_expression.tsv" if RNA_SAMPLES else None
LINK_TABLE = "results/analysis/links.tsv" if TARGET_TABLE else None
PEAK_ANNOTATION = "results/peaks/annotation.tsv" if SETTINGS["genome"]["genes"] else None
# chromVAR on the same cells, if evaluate.chromvar asks for it.
ACTIVITY_TABLE = "results/evaluation/activity.tsv" if SETTINGS["evaluate"]["chromvar"] else None
SEPARATION_TABLE = "results/evaluation/activity_types.tsv" if SETTINGS["evaluate"]["chromvar"] else None
MOTIF_TABLE = "results/analysis/motifs.tsv" if KEEP_SITES else None
SITE_TABLE = "results/analysis/best_sites.tsv" if KEEP_SITES else None
PEAK_BINDING = "results/analysis/peak_binding.h5ad" if KEEP_SITES else None
LOCI_PAGE = "results/browser/loci.html" if KEEP_SITES else None
VARIANT_TABLE, STRONGEST_TABLE = (
    f"results/analysis/variants{part}.tsv" if SETTINGS["variants"]["path"] else None
    for part in ("", "_strongest")
)
EXPLAIN_TABLE, EXPLAIN_FIGURES = (
    f"results/analysis/explain{part}" if SETTINGS["explain"] else None for part in (".tsv", "")
)
DIFFERENTIAL_SITES, DIFFERENTIAL_COUNTS = (
    f"results/analysis/differential_{part}.tsv" if KEEP_SITES else None for part in ("sites", "site_counts")
)
TRUTH_SAMPLE = SETTINGS["evaluate"]["sample"] or next(iter(PLAN.binding_samples), "none")


def one_of(names):
    """Return a regular expression that matches exactly these names."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


def optional(path):
    """Return the path if the configuration gives one, otherwise no input."""
    return path or []


def known_motifs(model):
    """Return the known motifs of a model. From a bundle, or with TFs beyond those of the dataset, it has a file of its own."""
    own = model in [*GIVEN, *SHARED]
    return f"results/models/{model}/motifs.npz" if own else "results/motifs/motifs.npz"


def added_tfs(wildcards):
    """Return which TFs without ChIP-seq are added to a given model, and from which release; None if none are."""
    asked = SETTINGS["models"][wildcards.model]["motif_tfs"]
    release = {key: SETTINGS["motifs"][key] for key in ("release", "taxon", "aliases")}
    return None if asked == "none" else {"asked": asked, **release}


def added_matrices(wildcards):
    """Return the user's file of matrices, if TFs are added from it. A list of one path would reach the script as a list."""
    return optional(added_tfs(wildcards) and SETTINGS["motifs"]["path"])


def extended_bundle(wildcards):
    """Return the bundle that a model extends, or nothing."""
    return EXTENDED.get(wildcards.model, [])


def bundles_to_make(wildcards):
    """Return the bundle of each trained model. A model that was given as a bundle is not made again."""
    if not TRAINED:
        raise WorkflowError(
            f"ERROR {CONFIG_FILE}: no model is trained here, so there is no bundle to make; {', '.join(GIVEN.values())} "
            "is a bundle already"
        )
    return expand("results/models/{model}/{model}.scbind.zip", model=TRAINED)


def binding_stores():
    """Return the binding store of each sample, or nothing if only TF activity is kept."""
    return per_sample("results/binding/{sample}.zarr", PLAN.binding_samples if KEEP_SITES else [])


def regulation():
    """Return the file of links per cell of each sample, or nothing if there are no links."""
    return per_sample("results/analysis/regulation/{sample}.h5ad", PLAN.binding_samples if LINK_TABLE else [])


def type_tracks():
    """Return the folder of cell type tracks of each sample, or nothing if only TF activity is kept."""
    return per_sample("results/binding/{sample}/tracks", PLAN.binding_samples if KEEP_SITES else [])


def rule_environments(wildcards):
    """Return the environment of each rule, by name. This includes rules that another workflow has modified."""
    return {rule.name: Path(str(rule.conda_env)).stem for rule in workflow.rules if rule.conda_env}


def held_out_chromosomes():
    """Return the chromosomes that are held out from training in all lines."""
    rules = [parse_rule(rule, "splits.test", list(PLAN.tracks)) for rule in SETTINGS["splits"]["test"]]
    return [rule.chrom for rule in rules if rule.line == "*" and rule.start is None]
