# What rules ask of the list of cell types. It is not known before, so every job of a cell type waits for it.
from scbind.core.files import read_rows, rows_by
from scbind.formats.typestatus import OWN, POOLED


# These functions run once per job, and there may be many thousands of jobs. Tables are therefore read once and searched
# by key.
def types_file():
    """Return the path of cell_types.tsv, when it exists. Every job of a cell type waits for it."""
    return checkpoints.cell_types.get().output.table


def pseudobulks_file():
    """Return the path of pseudobulks.tsv (types and their replicates), when it exists."""
    return checkpoints.cell_types.get().output.pseudobulks


def type_row(slug):
    """Return the row of a cell type in cell_types.tsv, by its slug (the name that paths use)."""
    return rows_by(types_file(), "slug")[slug][0]


def pooled_types():
    """Return the rows of the types that have their own pseudobulk: neither merged nor skipped."""
    return [row for row in read_rows(types_file()) if row["status"] in POOLED]


def per_type(pattern):
    """Return a function that gives one path per cell type with its own pseudobulk."""
    return lambda wildcards: expand(pattern, slug=[row["slug"] for row in pooled_types()])


def pseudobulk_row(folder):
    """Return the row of a pseudobulk in pseudobulks.tsv, by its folder."""
    return rows_by(pseudobulks_file(), "pseudobulk")[folder][0]


def type_samples(wildcards):
    """Return the samples whose cells are in a type."""
    return pseudobulk_row(wildcards.slug)["samples"].split(",")


def type_pieces(wildcards):
    """Return the folder of the pieces of each of these samples."""
    return per_sample("results/cells/{sample}/pieces", type_samples(wildcards))


def replicate_rows(slug):
    """Return the rows of the replicates of a type in pseudobulks.tsv, by the name of their folder."""
    rows = rows_by(pseudobulks_file(), "cell_type")[type_row(slug)["cell_type"]]
    return {Path(row["pseudobulk"]).name: row for row in rows if row["replicate"]}


def replicate_folders(wildcards):
    """Return the folder of the replicates of each type that has some."""
    slugs = [row["slug"] for row in pooled_types() if replicate_rows(row["slug"])]
    return expand("results/pseudobulk/{slug}/replicates", slug=slugs)


def called_peaks(wildcards):
    """Return the file with the called peaks of a type, or nothing if the type is too small for peak calling."""
    own = type_row(wildcards.slug)["status"] == OWN
    return f"results/pseudobulk/{wildcards.slug}/called.narrowPeak" if own else []


def compared_replicates(wildcards):
    """Return the replicates whose peaks decide which peaks of the type are kept, or nothing if they are too few."""
    least = SETTINGS["peaks"]["min_replicates"]
    found = [name for name, row in replicate_rows(wildcards.slug).items() if row["large"] == "yes"]
    return found if called_peaks(wildcards) and 1 < least <= len(found) else []


def type_facts(wildcards):
    """Return further facts for peaks.json. Cells and fragments include those of the types merged into this one."""
    row = pseudobulk_row(wildcards.slug)
    return {
        "reason": type_row(wildcards.slug)["reason"],
        "n_cells": int(row["n_cells"]),
        "n_fragments": int(row["n_fragments"]),
        "merged": [
            other["cell_type"] for other in rows_by(types_file(), "merged_into").get(row["cell_type"], ())
        ],
    }
