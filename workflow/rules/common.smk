# Reads and checks the configuration and the sheets. Defines the helpers that several rule files use.
import atexit
import difflib
import os
import re
import sys
from functools import partial
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.iocontainers import InputFiles
from snakemake.logging import logger


from scbind.core.errors import InputError
from scbind.core.gpulocks import may_have_gpu
from scbind.dataset.splitrules import parse_rule
from scbind.demo.atlas import demo_files
from scbind.demo.cohort import cohort_files
from scbind.evaluation import registry
from scbind.formats import symbols
from scbind.plan import checks, settings, sheets
from scbind.plan.chromosomes import fasta_names
from scbind.plan.cluster import Needs, check_slurm, find_partition
from scbind.plan.digests import (
    keep_digests,
    list_code,
    list_modules,
    source_digest,
    table_digest,
    template_digest,
)
from scbind.plan.filestate import changed_line, file_states, note_states
from scbind.plan.leftovers import find_leftovers, list_leftovers
from scbind.plan.paths import COHORT_FOLDER, DEMO_FOLDER, SIMULATED
from scbind.plan.pending import pending_line, refuse_too_many
from scbind.plan.receipts import asked_for

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
CELL_MOTIFS = (
    f"results/models/{INFER_MODEL}/motifs.npz"
    if INFER_MODEL in [*GIVEN, *SHARED]
    else "results/motifs/motifs.npz"
)
BASELINES = list(registry.BASELINES) if HAS_DATASET else []
# Without evaluate.truth there is no comparison with the truth; without genome.genes there are no target genes. With
# `infer.store: activity` no sites are kept, so rules that read the binding store do not run.
KEEP_SITES = SETTINGS["infer"]["store"] == "all"
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


# GPUs of one job, and at a time on this machine. `--resources gpu=0`, or the same in a profile, keeps all jobs from GPUs.
# Jobs on a cluster do not get this limit from Snakemake, so the environment tells them.
if workflow.is_main_process:
    limit = workflow.global_resources.get("gpu").value
    os.environ["SCBIND_GPU"] = "0" if limit == 0 else "1"
    # With a number of nodes, jobs run elsewhere. Without a GPU, jobs that could use one need not wait for each other.
    if limit is None and workflow.nodes is None and may_have_gpu():
        workflow.register_resource("gpu", 1)
GPU = int(os.environ.get("SCBIND_GPU", 1))


envvars:
    "SCBIND_GPU",


# Samples and groups may be thousands, and Snakemake puts the pattern into each path. The names themselves are therefore
# not in it: `sample_row` and `group_samples` refuse those that no sheet has.
NAME = r"[A-Za-z0-9][A-Za-z0-9_.+-]*"


def one_of(names):
    """Return a regular expression that matches exactly these names."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


def optional(path):
    """Return the path if the configuration gives one, otherwise no input."""
    return path or []


DAY = 24 * 60  # minutes
MOST_THREADS = 16  # of a job that trains


def memory(base, factor=0, **parts):
    """Return a function that gives memory in MB: ``base`` plus ``factor`` times the size of the input.

    ``parts`` are further factors, each for the size of a named part of the input. Memory doubles on each retry. Most
    rules stream or memory-map large files, so they need only the base.
    """
    return growing(base, factor, parts)


def training_threads(wildcards):
    """Return how many threads train a model on a CPU, and prepare its batches for a GPU.

    The layers of scbind's network are small, so a thread needs about 64 examples of a batch to be worth its cost
    (benchmarks/threads.py). The published network is large.
    """
    model = SETTINGS["models"][wildcards.model]
    if model["architecture"] == "scfan":
        return MOST_THREADS
    return min(MOST_THREADS, max(model["batch_size"] // 64, model["workers"] + 1))


def threads_by_size(most, mb):
    """Return a function that gives a job one thread per ``mb`` MB of input, ``most`` at most.

    A small job gains nothing from a second thread, and would keep a core from other jobs.
    """

    def sized(wildcards, input):
        try:
            return int(min(most, max(1, size_mb(input) / mb)))
        except OSError:  # in a plan, before the input is made
            return most

    return sized


def runtime(minutes, **parts):
    """Return a function that gives the time limit in minutes: ``minutes`` plus factors times the MB of ``parts``.

    Time doubles on each retry, but not beyond a day: many partitions allow no more, and the job would wait for ever.
    """
    return growing(minutes, 0, parts, DAY)


def growing(base, factor, parts, most=float("inf")):
    """Return the function of :func:`memory` or :func:`runtime`. Only a first attempt may ask for more than ``most``."""

    def grown(first, attempt):
        return int(max(first, min(first * 2 ** (attempt - 1), most)))

    def sized(wildcards, input, attempt):
        named = sum(times * size_mb(input[name]) for name, times in parts.items())
        return grown(base + (factor and factor * size_mb(input)) + named, attempt)

    return sized if factor or parts else lambda wildcards, attempt: grown(base, attempt)


def size_mb(paths):
    """Return the MB of a file or of files. ``input.size_mb`` does the same, but starts an event loop for each job."""
    files = [paths] if isinstance(paths, str) else paths
    if any(path.is_storage for path in files):
        return InputFiles(toclone=files).size_mb
    return sum(map(os.path.getsize, files)) / 2**20


# What Snakemake follows itself: files that rules make, and downloads.
MADE = ("results/", *SIMULATED)
FETCHED = {f"resources/{name}" for name in PLAN.sources}


def states(*paths):
    """Return what changes if one of these files of the user is replaced, for the parameters of a rule that reads it."""
    return file_states(paths, MADE, FETCHED)


def key_states(*keys):
    """Return :func:`states` of the files that these keys of the configuration name, such as genome/fasta."""
    parts = (key.split("/") for key in keys)
    return states(*(SETTINGS[section][name] for section, name in parts))


def current_states():
    """Return :func:`note_states` of the user's files, the configuration, the sheets and the code."""
    configs = workflow.overwrite_configfiles or ["config/config.yaml"]
    return note_states(PLAN.inputs(), states(*PLAN.inputs()), [*configs, *PLAN.sheets.values(), *list_code()])


def changed_meanwhile():
    """Return the line about what was edited while the run was under way, or nothing."""
    line = "" if BEFORE is None else changed_line(BEFORE, current_states())
    return [line] if line else []


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


def extended_states(wildcards):
    """Return :func:`states` of this bundle."""
    return states(EXTENDED.get(wildcards.model))


def track_states(cell_line):
    """Return :func:`states` of the tracks of a cell line."""
    return states(*(row["path"] for row in PLAN.tracks[cell_line]))


def sample_states(sample, *columns):
    """Return :func:`states` of the files in these columns of a sample; of a converted BAM, only bam_fragments reads it."""
    row = sample_row(sample) | {"fragments": sample_fragments(sample)}
    return states(*(row[column] for column in columns))


def known(name, names, kind):
    """Return what ``names`` has for a sample or group. Raise an error of one line if there is no such name."""
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        remedy = f"did you mean {close[0]}?" if close else f"use one of: {', '.join(list(names)[:5])}"
        raise WorkflowError(f"ERROR {PLAN.sheets['samples']}: no {kind} {name!r}; {remedy}")
    return names[name]


def sample_row(sample):
    """Return the row of a sample in the sheet."""
    return known(sample, PLAN.samples, "sample")


def group_samples(group):
    """Return the samples of a group, which are embedded together."""
    return known(group, GROUPS, "group")


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


def per_sample(pattern, samples):
    """Return one path per sample."""
    return expand(pattern, sample=samples)


def labelled_samples(group):
    """Return the samples of a group that have a file of cell labels."""
    return [sample for sample in group_samples(group) if PLAN.samples[sample]["labels"]]


def harmony_batches(samples):
    """Return the batch of each sample for Harmony (the sample or its donor), or nothing if Harmony is off."""
    column = SETTINGS["cells"]["harmony"]
    if column == "none":
        return {}
    return {sample: sample if column == "sample" else PLAN.samples[sample][column] for sample in samples}


def sample_fragments(sample):
    """Return the fragments file of a sample: the file of the user, or the one converted from a BAM."""
    row = sample_row(sample)
    return row["path"] if row["format"] == "fragments" else f"results/cells/{sample}/fragments.tsv.gz"


def rule_environments(wildcards):
    """Return the environment of each rule, by name. This includes rules that another workflow has modified."""
    return {rule.name: Path(str(rule.conda_env)).stem for rule in workflow.rules if rule.conda_env}


def held_out_chromosomes():
    """Return the chromosomes that are held out from training in all lines."""
    rules = [parse_rule(rule, "splits.test", list(PLAN.tracks)) for rule in SETTINGS["splits"]["test"]]
    return [rule.chrom for rule in rules if rule.line == "*" and rule.start is None]


def check_cluster():
    """Refuse a run on SLURM whose jobs would wait for ever, or that SLURM would refuse."""
    if workflow.executor_plugin.name == "slurm":
        from snakemake.common.tbdstring import TBDString
        from snakemake_executor_plugin_slurm.partitions import get_best_partition, read_partition_file

        settings, rules = workflow.executor_settings, {}
        table = settings.partition_config or os.environ.get("SNAKEMAKE_SLURM_PARTITIONS")
        choose = partial(get_best_partition, read_partition_file(Path(table))) if table else None
        try:
            for job in workflow.dag.needrun_jobs():
                name = job.rule.name
                if job.is_local:
                    continue
                asked = {
                    key: value for key, value in job.resources.items() if not isinstance(value, TBDString)
                }
                if name not in rules:
                    partition = asked.get("slurm_partition")
                    if not partition and choose:
                        partition = find_partition(name, job.threads, asked, table, choose)
                    rules[name] = Needs(job.threads, asked.get("gpu") or 0, partition)
                memory = max(rules[name].memory, int(asked.get("mem_mb") or 0))  # it may depend on the input
                rules[name] = rules[name]._replace(memory=memory)
            check_slurm(rules, getattr(settings, "status_command", None))
        except InputError as error:
            raise WorkflowError(f"ERROR {error}") from None


def pending_rows(finished):
    """Return name -> row of the sources that this run fetches; ``finished``: also those that it has fetched already."""
    jobs = workflow.dag.needrun_jobs(exclude_finished=not finished)
    # inside another workflow, the rule has a prefix, and there may be others of its kind
    fetched = [job.wildcards.get("source") for job in jobs if job.rule.name.endswith("fetch_source")]
    return {name: PLAN.sources[name] for name in fetched if name in PLAN.sources}


def say_pending():
    """Say what the downloads of a dry run come to."""
    if workflow.dryrun and workflow.dag and (rows := pending_rows(finished=True)):
        print(pending_line(rows), file=sys.stderr)


def check_space():
    """Refuse a run whose downloads do not fit on the disk together."""
    try:
        refuse_too_many(pending_rows(finished=False))
    except InputError as error:
        raise WorkflowError(f"ERROR {error}") from None


def left_over():
    """Write logs/leftovers.txt, the results that the configuration no longer asks for, and return the line about them.

    Only a run of all knows them: with a part of the jobs, such as those of a batch, results of the others seem left.
    """
    jobs, chosen = list(workflow.dag.jobs), workflow.dag_settings
    partial = chosen.batch or chosen.until or chosen.omit_from or chosen.allowed_rules or chosen.target_jobs
    if partial or not any(job.rule.name == "all" for job in jobs):
        return []
    # Only the target `bundle` makes bundles.
    made = expand("results/models/{model}/{model}.scbind.zip", model=TRAINED)
    made += [path for job in jobs for path in job.output]
    try:
        line = list_leftovers(find_leftovers("results", made), "logs/leftovers.txt")
    except OSError:  # a folder that may not be read or written; the run itself has succeeded
        return []
    return [line] if line else []


# Snakemake has no hook for the end of a dry run. Before, it is not known which files the targets need.
if workflow.is_main_process:
    atexit.register(say_pending)
