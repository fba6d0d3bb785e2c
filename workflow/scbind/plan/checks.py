"""Checks of a whole plan: rules of the split, chromosomes, files of the demo, names of paths."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence

from scbind.core.errors import InputError
from scbind.core.filenames import fits_file_name, renamed_motif
from scbind.dataset.splitrules import parse_rule, refuse_overlaps
from scbind.formats.bundlefile import check_names, check_widths, predicts_other_tfs, read_about, read_bundle
from scbind.formats.evidence import assayed_tfs
from scbind.formats.symbols import Aliases, case_matters, match_symbols
from scbind.plan.inputs import Plan
from scbind.plan.receipts import receipt_of


def check_splits(splits: Mapping, lines: list[str], label: str) -> None:
    """Check the form and the cell lines of the rules; chromosomes are checked by :func:`check_chromosomes`."""
    for part, rules in splits.items():
        for text in rules or ():
            parse_rule(text, f"key splits.{part}", lines, label=label)
    refuse_overlaps(splits, lines, label)


def check_chromosomes(plan: Plan, label: str, names: Sequence[str]) -> None:
    """Check that the chromosomes in split rules, in ``cells`` and in regions of tracks are in the genome.

    ``names``: chromosomes of the genome. Raises :class:`InputError` for the first that is not.
    """
    for part, rules in plan.config["splits"].items():
        for text in rules or ():
            parse_rule(text, f"key splits.{part}", list(plan.tracks), names, label)
    shown = f"use one of {', '.join(names[:5])}{', ...' * (len(names) > 5)}"
    for name in plan.config["cells"]["neighbour_chromosomes"] or ():
        if name not in names:
            raise InputError(label, f"no chromosome {name!r}", shown, "key cells.neighbour_chromosomes")
    for row in (row for rows in plan.tracks.values() for row in rows):
        name = (row["region"] or "").rpartition(":")[0]
        if name and name not in names:
            place = f"region {row['region']}"
            raise InputError(plan.sheets["tracks"], f"no chromosome {name!r} in the genome", shown, place)


def check_sizes(plan: Plan) -> None:
    """Check the size of files that somebody put in place of a download: there is no receipt of them.

    Raises :class:`InputError` for the first with another size than the sheet of sources states.
    """
    for path in plan.downloads():
        row = plan.sources[path.rpartition("/")[2]]
        if row["size"] and os.path.isfile(path) and not receipt_of(path).exists():
            found = os.path.getsize(path)
            if found != row["size"]:
                problem = f"has {found} bytes, but its size in the sheet is {row['size']} bytes"
                raise InputError(path, problem, "remove it, so that it is downloaded", row["place"])


def check_extended(plan: Plan) -> None:
    """Read and verify the bundles that models extend, if they are there: the training begins late.

    Raises :class:`InputError` if one is damaged, or cannot be extended.
    """
    for name, path in plan.extended.items():
        if os.path.exists(path) and not predicts_other_tfs(read_bundle(path)):
            problem = "its network was not trained for other TFs (options.strangers is 0)"
            raise InputError(path, problem, f"use another bundle, or remove models.{name}.extends")


def check_simulated(plan: Plan, made: dict[str, Sequence[str]]) -> None:
    """Check that the simulated files that the plan names are among those that the workflow makes.

    ``made``: folder, such as ``resources/demo/``, to the paths below it. Raises :class:`InputError` for the first that
    is not.
    """
    for folder, names in made.items():
        known = {f"{folder}{name}" for name in names}
        known |= {path.rpartition("/")[0] for path in known}
        for path in plan.inputs():
            if path.startswith(folder) and path.rstrip("/") not in known:
                close = difflib.get_close_matches(path, known, n=1)
                remedy = f"did you mean {close[0]}?" if close else "give a file of your own"
                raise InputError(path, "the simulation makes no such file", remedy)


def check_models(plan: Plan, label: str) -> None:
    """Check that there is data for models that are to be trained, and that bundles that are there already fit."""
    names = plan.config["sheets"]
    if bool(names["tracks"]) != bool(names["chip"]):
        there, lacking = ("tracks", "chip") if names["tracks"] else ("chip", "tracks")
        problem = f"sheets.{there} needs sheets.{lacking} beside it"
        raise InputError(label, problem, "give both, or neither", f"key sheets.{lacking}")
    if plan.trained:
        lacking = [f"sheets.{sheet}" for sheet in ("tracks", "chip") if not names[sheet]]
        lacking += [f"splits.{part}" for part in ("test", "valid") if not plan.config["splits"][part]]
        if lacking:
            remedy = f"give the key, or give a trained model: models.{plan.trained[0]}.bundle"
            problem = f"this key is missing, and the model {plan.trained[0]} is to be trained"
            raise InputError(label, problem, remedy, f"key {lacking[0]}")
    for name in plan.config["models"]:
        _check_motif_tfs(plan, name, label)
    if plan.config["evaluate"]["left_out_tfs"] and not plan.shared:
        problem = "no model that is trained here can predict TFs without ChIP-seq"
        raise InputError(label, problem, "set models.*.motif_tfs, or use 0", "key evaluate.left_out_tfs")
    geometry, predicts = plan.config["dataset"], plan.config["infer"]["model"]
    if predicts in plan.trained and predicts not in plan.extended:
        _check_explained(plan, plan.tfs, f"{plan.sheets['chip']} or models.{predicts}.motif_tfs", label)
    for name, path in plan.given.items():
        if not os.path.exists(path):  # it is fetched first, and then checked by the rule that unpacks it
            continue
        facts = read_about(path)["facts"]
        if (
            facts.get("architecture") == "scfan"
            and facts.get("mappability")
            and not plan.config["genome"]["mappability"]
        ):
            problem = "its network reads mappability, and the genome has none"
            raise InputError(path, problem, "set genome.mappability, or use another bundle")
        check_widths(path, facts, geometry["window"], geometry["context"])
        check_names(path, facts)
        if name == predicts:
            tfs = zip(facts.get("tfs") or (), facts.get("modelled") or (), strict=False)
            known = [tf for tf, kept in tfs if kept]
            _check_explained(plan, known, f"the model {name} of {path}", label)
    for name, path in plan.extended.items():
        if not os.path.exists(path):  # it is fetched first, and then checked by the rules that read it
            continue
        facts = read_about(path)["facts"]
        check_widths(path, facts, geometry["window"], geometry["context"])
        check_names(path, facts)
        if name == predicts:
            where = f"{plan.sheets['chip']}, {path} or models.{name}.motif_tfs"
            taxon = plan.config["motifs"]["taxon"]
            same = match_symbols(plan.tfs, assayed_tfs(facts), case_matters=case_matters(taxon))
            theirs = [tf for tf in assayed_tfs(facts) if tf not in same.values()]
            _check_explained(plan, [*plan.tfs, *theirs], where, label)


def _check_explained(plan: Plan, known: Sequence[str], where: str, label: str) -> None:
    """Check that the TFs of ``explain`` are among those that the model predicts.

    ``known`` are those without ``motif_tfs``; ``where`` says in words what has them. With ``motif_tfs: all``, they are
    not compared, because the motif release would have to be read.
    """
    added = plan.config["models"][plan.config["infer"]["model"]]["motif_tfs"]
    if added == "all":
        return
    known = [*known, *(added if isinstance(added, list) else ())]
    for number, question in enumerate(plan.config["explain"]):
        if (tf := question["tf"]) not in known:
            same = [other for other in known if other.casefold() == tf.casefold()]
            close = same or difflib.get_close_matches(tf, known, n=1)
            listed = f"{', '.join(known[:8])}{', ...' * (len(known) > 8)}"
            remedy = f"did you mean {close[0]}?" if close else f"use one of {listed}"
            raise InputError(label, f"no TF {tf!r} in {where}", remedy, f"key explain[{number}]")


def _check_motif_tfs(plan: Plan, name: str, label: str) -> None:
    """Check the names of the TFs without ChIP-seq of a model. They are parts of file names.

    No TF is listed twice or has ChIP-seq, and none takes the matrix of a TF that is listed or has ChIP-seq: the two
    would have one motif.
    """
    asked, key = plan.config["models"][name]["motif_tfs"], f"key models.{name}.motif_tfs"
    aliases = Aliases(plan.config["motifs"]["taxon"], plan.config["motifs"]["aliases"])
    assayed = plan.tfs if name in plan.trained else []
    extended = plan.extended.get(name)
    theirs = assayed_tfs(read_about(extended)["facts"]) if extended and os.path.exists(extended) else []
    for place, tf in enumerate(asked if isinstance(asked, list) else ()):
        if not fits_file_name(tf):
            raise InputError(label, f"{tf!r} cannot be part of a file name", renamed_motif(tf), key)
        if other := aliases.find(tf, assayed):
            problem, where, surplus = f"{tf} has ChIP-seq in the sheet", "has ChIP-seq in the sheet", tf
        elif other := aliases.find(tf, [*asked[:place], *asked[place + 1 :]]):
            problem, where, surplus = f"{other} is listed twice", "is in the list, too", "one of them"
        elif other := aliases.find(tf, theirs):
            problem, where, surplus = f"{extended} has {other}", f"is in {extended}", tf
        else:
            continue
        if aliases.key(other) != aliases.key(tf):
            problem = f"by motifs.aliases, {tf} takes the same matrix as {other}, which {where}"
        raise InputError(label, problem, f"remove {surplus} from the list", key)


def check_samples(plan: Plan, label: str) -> None:
    """Check that the sample of ``evaluate.sample`` is there, and that each has a donor where ``cells.harmony`` asks.

    Without a list of barcodes, ``cells.min_barcode`` may not be above ``cells.min_fragments``: it would replace it.
    """
    sample = plan.config["evaluate"]["sample"]
    if sample and sample not in plan.binding_samples:
        known = ", ".join(plan.binding_samples)
        raise InputError(
            label, f"no sample {sample!r} with binding", f"use one of: {known}", "key evaluate.sample"
        )
    least, threshold = plan.config["cells"]["min_barcode"], plan.config["cells"]["min_fragments"]
    if least > threshold and not all(row["barcodes"] for row in plan.samples.values()):
        problem = f"{least} is above cells.min_fragments ({threshold}), so barcodes with fewer than {least} fragments "
        problem += "would be ignored before quality control"
        raise InputError(label, problem, f"set it to {threshold} or less", "key cells.min_barcode")
    donors = {row["donor"] for row in plan.samples.values()}
    for name, row in plan.samples.items():
        problem = ""
        if not row["donor"] and plan.config["cells"]["harmony"] == "donor":
            problem = f"sample {name} has no donor, but cells.harmony is donor"
        elif not row["donor"] and name in donors:  # it would be taken for a sample of this donor
            problem = f"sample {name} has no donor, but is called like the donor of another sample"
        if problem:
            raise InputError(
                plan.config["sheets"]["samples"], problem, "fill in the column donor", "column donor"
            )


def check_lines(plan: Plan) -> None:
    """Check that every cell line with ChIP-seq peaks has an ATAC-seq track."""
    bare = sorted({row["cell_line"] for row in plan.chip} - plan.tracks.keys())
    if bare:
        names = plan.config["sheets"]
        raise InputError(
            names["chip"],
            f"{bare[0]} has ChIP-seq peaks but no ATAC-seq track",
            f"add a row for it to {names['tracks']} or remove its rows",
        )


def refuse_braces(plan: Plan) -> None:
    """Refuse paths with braces, which Snakemake takes for wildcards."""
    for path in plan.inputs():
        if "{" in path or "}" in path:
            raise InputError(
                path, "the path has a brace, which Snakemake takes for a wildcard", "rename the file"
            )
