# Read and check the configuration and the sheets; the few helpers that several rule files use.
import csv
import re

from snakemake.exceptions import WorkflowError

from scbind import settings, sheets
from scbind.errors import InputError
from scbind.provenance import list_modules, source_digest, template_digest

CONFIG_FILE = str((workflow.overwrite_configfiles or ["config/config.yaml"])[-1])
try:
    PLAN = sheets.load_plan(settings.check_config(config, CONFIG_FILE), CONFIG_FILE)
except InputError as error:
    raise WorkflowError(f"ERROR {error}") from None
SETTINGS = PLAN.config
REFERENCE = f"results/reference/{SETTINGS['genome']['name']}"
# Every reader of the reference needs these three; the folder is passed on as params.reference.
REFERENCE_FILES = multiext(f"{REFERENCE}/", "chrom.sizes", "sequence.npy", "exclude.bed")
# Switched off by an absent bigWig: the mappability of every base, and the least that windows must have.
MAPPABILITY = [f"{REFERENCE}/mappability.npy"] if SETTINGS["genome"]["mappability"] else []
GEOMETRY = SETTINGS["dataset"] | ({} if MAPPABILITY else {"min_mappability": None})
INFER_MODEL = SETTINGS["infer"]["model"]
MODELS = [INFER_MODEL, *(name for name in SETTINGS["models"] if name != INFER_MODEL)]
BASELINES = [
    "accessibility",
    "motif_x_accessibility",
    "boosted_trees",
    "other_lines_chip",
    "permuted_labels",
]
# Switched off by an absent input: the comparisons with the truth, and target genes. With infer.store: activity no
# site is kept, so whatever reads the binding store is left out.
KEEP_SITES = SETTINGS["infer"]["store"] == "all"
TRUTH_TABLES = (
    expand("results/evaluation/{table}.tsv", table=["cells", "types"] if KEEP_SITES else ["types"])
    if SETTINGS["evaluate"]["truth"]
    else []
)
ORACLE = ["oracle"] if SETTINGS["evaluate"]["truth"] else []
TARGET_TABLE = "results/analysis/tf_targets.tsv" if SETTINGS["genome"]["genes"] and KEEP_SITES else None
MOTIF_TABLE = "results/analysis/motifs.tsv" if KEEP_SITES else None
TRUTH_SAMPLE = SETTINGS["evaluate"]["sample"] or next(iter(PLAN.binding_samples), "none")


def one_of(names):
    """Return a regular expression that matches exactly these names."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


def optional(path):
    """Return an input that is there only if the configuration names it."""
    return path or []


def memory(base, factor=4):
    """Return memory in MB: a base and some bytes per byte of input, doubled on each retry."""
    return lambda wildcards, input, attempt: int((base + factor * input.size_mb) * 2 ** (attempt - 1))


def cell_type_table():
    """Return the rows of cell_types.tsv, once it is known; every job per cell type waits for it."""
    with open(checkpoints.cell_types.get().output.table) as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def slug_name(wildcards):
    """Return the cell type that a slug stands for."""
    return next(row["cell_type"] for row in cell_type_table() if row["slug"] == wildcards.slug)


def pooled_types():
    """Return the rows of the types that are pseudobulks of their own: neither merged nor skipped."""
    return [row for row in cell_type_table() if row["status"] in ("own", "sample_peaks")]


def per_type(pattern):
    """Return one path per pseudobulk of a cell type."""
    return lambda wildcards: expand(pattern, slug=[row["slug"] for row in pooled_types()])


def pseudobulk_table():
    """Return the rows of pseudobulks.tsv, once it is known: types and their replicates."""
    with open(checkpoints.cell_types.get().output.pseudobulks) as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def pseudobulk_row(folder):
    """Return the row of one pseudobulk, by its folder."""
    return next(row for row in pseudobulk_table() if row["pseudobulk"] == folder)


def per_pseudobulk(pattern):
    """Return one path per pseudobulk, of types and of replicates."""
    return lambda wildcards: expand(pattern, bulk=[row["pseudobulk"] for row in pseudobulk_table()])


def large_replicates(slug):
    """Return the rows of a type's replicates that are large enough for peaks of their own."""
    return [
        row
        for row in pseudobulk_table()
        if row["pseudobulk"].startswith(f"{slug}/replicates/") and row["large"] == "yes"
    ]


def called_peaks(wildcards):
    """Return the file of peaks called on a type; none for a type that is too small."""
    row = next(row for row in pooled_types() if row["slug"] == wildcards.slug)
    return f"results/pseudobulk/{wildcards.slug}/called.narrowPeak" if row["status"] == "own" else []


def compared_replicates(wildcards):
    """Return the replicates whose peaks decide on those of their type; none where they are too few."""
    least, rows = SETTINGS["peaks"]["min_replicates"], large_replicates(wildcards.slug)
    return [row["pseudobulk"] for row in rows] if called_peaks(wildcards) and 1 < least <= len(rows) else []


def type_facts(wildcards):
    """Return what peaks.json says of a type beside its peaks; cells and fragments with those merged into it."""
    row = pseudobulk_row(wildcards.slug)
    named = [other for other in cell_type_table() if other["merged_into"] == row["cell_type"]]
    return {
        "reason": next(other["reason"] for other in pooled_types() if other["slug"] == wildcards.slug),
        "n_cells": int(row["n_cells"]),
        "n_fragments": int(row["n_fragments"]),
        "merged": [other["cell_type"] for other in named],
    }


def type_tracks(wildcards):
    """Return one folder of tracks per sample with binding and cell type that it has; none of skipped types."""
    if not KEEP_SITES:
        return []
    return [
        f"results/binding/{sample}/{row['slug']}"
        for row in cell_type_table()
        if row["status"] != "skipped"
        for sample in row["samples"].split(",")
        if sample in PLAN.binding_samples
    ]


def binding_stores():
    """Return the store of each sample with binding; none where only activity is kept."""
    return per_sample("results/binding/{sample}.zarr", PLAN.binding_samples if KEEP_SITES else [])


def per_sample(pattern, samples):
    """Return one path per sample."""
    return expand(pattern, sample=samples)


def harmony_batches(samples):
    """Return the batch of each sample that Harmony takes out: itself or its donor; nothing if not asked for."""
    column = SETTINGS["cells"]["harmony"]
    if column == "none":
        return {}
    return {sample: sample if column == "sample" else PLAN.samples[sample][column] for sample in samples}


def sample_fragments(sample):
    """Return the fragments file of a sample: the user's own, or the one made from its BAM."""
    row = PLAN.samples[sample]
    return row["path"] if row["format"] == "fragments" else f"results/cells/{sample}/fragments.tsv.gz"


def held_out_chromosomes():
    """Return the chromosomes that no line was trained on."""
    rules = [rule.split(":") for rule in SETTINGS["splits"]["test"]]
    return [rule[1] for rule in rules if rule[0] == "*" and len(rule) == 2]
