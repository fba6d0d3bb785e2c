# What rules ask of the sheet of samples.
import difflib

# Samples and groups may be thousands, and Snakemake puts the pattern into each path. The names themselves are therefore
# not in it: `sample_row` and `group_samples` refuse those that no sheet has.
NAME = r"[A-Za-z0-9][A-Za-z0-9_.+-]*"


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


def sample_states(sample, *columns):
    """Return :func:`states` of the files in these columns of a sample; of a converted BAM, only bam_fragments reads it."""
    row = sample_row(sample) | {"fragments": sample_fragments(sample)}
    return states(*(row[column] for column in columns))
