"""Load the sheets, which list tracks, ChIP-seq peaks and samples. They are checked before any job starts.

Every job imports this module when it parses the workflow, so the module stays light (no pandas, no numpy).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from operator import itemgetter

from scbind.core.errors import InputError
from scbind.plan.checks import check_lines, check_models, check_samples, check_splits, refuse_braces
from scbind.plan.inputs import CONFIG_PATHS, Plan
from scbind.plan.panel import Panel, chosen_panel
from scbind.plan.paths import DATA_VARIABLE, Resolver
from scbind.plan.progress import counted
from scbind.plan.sheetreaders import read_chip_rows, read_sample_rows, read_source_rows, read_track_rows


def load_plan(
    config: dict, label: str = "config/config.yaml", environ: Mapping[str, str] | None = None
) -> Plan:
    """Read and check every sheet that a checked configuration names.

    Relative paths start at the working directory. ``{data}/`` at the start of a path means the folder ``data`` of the
    configuration or, if that is empty, the environment variable ``SCBIND_DATA``. ``source:NAME`` means a row of
    ``sources.tsv``. ``http(s)://`` and ``file://`` addresses are fetched.

    Raises
    ------
    InputError
        On the first error, with its file, line and column.
    """
    environ = os.environ if environ is None else environ
    plan = Plan(config=config)
    names = config["sheets"]
    resolver = Resolver(plan.sources, config.get("data") or environ.get(DATA_VARIABLE))
    if names["sources"]:
        plan.sheets["sources"] = resolver.place(names["sources"], label, "key sheets.sources")
        plan.sources.update(read_source_rows(plan.sheets["sources"]))
    panel = chosen_panel(config, label)
    if panel and not names["chip"]:
        problem = (
            "a panel chooses from the sheets of tracks and ChIP-seq peaks, and the configuration has none"
        )
        raise InputError(label, problem, "remove the key, or give sheets.tracks and sheets.chip", "key panel")
    for sheet in ("tracks", "chip", "samples"):
        if names[sheet]:
            plan.sheets[sheet] = resolver.place(names[sheet], label, f"key sheets.{sheet}")
    if "tracks" in plan.sheets:
        plan.tracks = read_track_rows(plan.sheets["tracks"], resolver, panel)
    if "chip" in plan.sheets:
        taxon = config["motifs"]["taxon"]
        plan.chip, plan.notes = read_chip_rows(plan.sheets["chip"], resolver, panel, taxon)
    if panel and plan.chip:
        _apply(panel, plan)
    if "samples" in plan.sheets:
        plan.samples = read_sample_rows(plan.sheets["samples"], resolver)
    for section, key, folder in CONFIG_PATHS:
        if config[section][key]:
            config[section][key] = resolver(config[section][key], label, f"key {section}.{key}", folder)
    for name, each in config["models"].items():
        for key in ("bundle", "extends"):
            if each[key]:
                each[key] = resolver(each[key], label, f"key models.{name}.{key}")
    # the order of rows changes nothing
    plan.tracks = {line: sorted(plan.tracks[line], key=itemgetter("path")) for line in sorted(plan.tracks)}
    plan.chip.sort(key=itemgetter("cell_line", "tf", "path"))
    plan.samples = dict(sorted(plan.samples.items()))
    check_models(plan, label)
    check_samples(plan, label)
    check_lines(plan)
    check_splits(config["splits"], list(plan.tracks), label)
    refuse_braces(plan)
    if panel:  # what no input needs is not fetched
        needed = set(plan.inputs())
        plan.sources = {name: row for name, row in plan.sources.items() if f"resources/{name}" in needed}
    return plan


def _apply(panel: Panel, plan: Plan) -> None:
    """Leave out tracks and split rules of lines without ChIP-seq peaks in the panel, and note what is left."""
    of, kept = list(plan.tracks), {row["cell_line"] for row in plan.chip}
    plan.tracks = {line: rows for line, rows in plan.tracks.items() if line in kept}
    plan.config["splits"] = panel.drop_rules(plan.config["splits"], list(plan.tracks), of)
    plan.notes.append(
        f"panel {panel.name}: {counted(len(plan.chip), 'ChIP-seq file')} of {counted(len(plan.tfs), 'TF')} in "
        f"{len(kept)} of {counted(len(of), 'cell line')} ({', '.join(sorted(kept))})"
    )
