# The state of the user's files: a rule runs again if a file that it reads is replaced.
from scbind.plan.filestate import file_states
from scbind.plan.paths import SIMULATED

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


def extended_states(wildcards):
    """Return :func:`states` of the bundle that a model extends."""
    return states(EXTENDED.get(wildcards.model))


def track_states(cell_line):
    """Return :func:`states` of the tracks of a cell line."""
    return states(*(row["path"] for row in PLAN.tracks[cell_line]))
