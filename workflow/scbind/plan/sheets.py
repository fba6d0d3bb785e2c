"""Load the sheets, which list tracks, ChIP-seq peaks and samples. They are checked before any job starts.

Every job imports this module when it parses the workflow, so the module stays light (no pandas, no numpy).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from scbind.plan.checks import check_lines, check_models, check_samples, check_splits, refuse_braces
from scbind.plan.inputs import CONFIG_PATHS, Plan
from scbind.plan.paths import DATA_VARIABLE, Resolver
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
    for sheet, reader in (
        ("tracks", read_track_rows),
        ("chip", read_chip_rows),
        ("samples", read_sample_rows),
    ):
        if names[sheet]:
            path = resolver.place(names[sheet], label, f"key sheets.{sheet}")
            plan.sheets[sheet] = path
            setattr(plan, sheet, reader(path, resolver))
    for section, key, folder in CONFIG_PATHS:
        if config[section][key]:
            config[section][key] = resolver(config[section][key], label, f"key {section}.{key}", folder)
    for name, each in config["models"].items():
        if each["bundle"]:
            each["bundle"] = resolver(each["bundle"], label, f"key models.{name}.bundle")
    check_models(plan, label)
    check_samples(plan, label)
    check_lines(plan)
    check_splits(config["splits"], list(plan.tracks), label)
    refuse_braces(plan)
    return plan
