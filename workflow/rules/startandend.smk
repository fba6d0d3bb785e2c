# What is checked when a run starts, and said when it ends.
import atexit
from functools import partial

from scbind.plan.cluster import Needs, check_slurm, find_partition
from scbind.plan.digests import list_code
from scbind.plan.filestate import changed_line, note_states
from scbind.plan.leftovers import find_leftovers, list_leftovers
from scbind.plan.pending import pending_line, refuse_too_many


def current_states():
    """Return :func:`note_states` of the user's files, the configuration, the sheets and the code."""
    configs = workflow.overwrite_configfiles or ["config/config.yaml"]
    return note_states(PLAN.inputs(), states(*PLAN.inputs()), [*configs, *PLAN.sheets.values(), *list_code()])


def changed_meanwhile():
    """Return the line about what was edited while the run was under way, or nothing."""
    line = "" if BEFORE is None else changed_line(BEFORE, current_states())
    return [line] if line else []


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
