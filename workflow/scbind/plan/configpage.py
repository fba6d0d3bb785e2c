"""The page ``docs/reference/configuration.md``, made from the schemas; as a program, it prints the page."""

from __future__ import annotations

import yaml

from scbind.plan.settings import ASSAYS, SCHEMA, list_keys, load_schema
from scbind.plan.sheetrows import COLUMNS

SHEETS = SCHEMA.with_name("sheets.yaml")  # what the columns of the sheets mean
ASSAY_SOURCES = {
    "10x_atac": "Defaults of ArchR (Granja et al. 2021). Nucleosome signal: PBMC vignette of Signac",
    "10x_multiome": "Vignette of Signac: joint RNA and ATAC of PBMC",
    "snATAC": "Combinatorial indexing: Zhang et al. 2021, Cell",
}
INTRODUCTION = """# Configuration

<!-- Made by `make docs-reference` from workflow/schemas. Edit the schemas, not this page. -->

Every column of the sheets and every key of `config/config.yaml`. Keys that you leave out take their default.
A mistake in them stops the run before any job starts. One line names the place and the remedy.

The forms that a path may take are in [Run your own data](../how-to/your-data.md). The rules of `splits` are in
[Choose holdouts](../how-to/holdouts.md)."""
ASSAY_TEXT = """`cells.assay` sets the thresholds below. An empty field keeps the default of the key. A key that you
write in the configuration overrides both. `custom` keeps the defaults of all keys; its minimum of 1,000
fragments is that of ArchR. TSS enrichment needs `genome.genes`."""


def describe(schema: dict | None = None) -> str:
    """Return the page ``docs/reference/configuration.md`` in Markdown: columns of the sheets, keys and assays."""
    schema = load_schema() if schema is None else schema
    page = [INTRODUCTION, "## Sheets"]
    page += [_describe_sheet(name, part) for name, part in load_schema(SHEETS).items()]
    page.append("## Keys")
    for section, part in schema["properties"].items():
        keys = [(key, leaf) for key, leaf in list_keys(schema) if key.partition(".")[0] == section]
        text = f"{part['description']}\n\n" if "properties" in part or section in ("models", "panels") else ""
        rows = [_describe_key(key, leaf) for key, leaf in keys]
        page.append(f"### `{section}`\n\n{text}" + _table("key | default | meaning", rows))
    columns = list(dict.fromkeys(key for part in ASSAYS.values() for key in part))
    assays = [
        [f"`{name}`", *(str(part.get(key, "")) for key in columns), ASSAY_SOURCES[name]]
        for name, part in ASSAYS.items()
    ]
    header = " | ".join(["assay", *(f"`{key}`" for key in columns), "source"])
    page.append(f"## Assays\n\n{ASSAY_TEXT}\n\n{_table(header, assays)}")
    return "\n\n".join(page)


def _describe_sheet(name: str, part: dict) -> str:
    required, optional = COLUMNS[name]
    rows = [
        [f"`{column}`", "yes" if column in required else "no", part["columns"][column]]
        for column in (*required, *optional)
    ]
    return f"### `{name}.tsv`\n\n{part['description']}\n\n{_table('column | required | meaning', rows)}"


def _describe_key(key: str, part: dict) -> list[str]:
    default = "required" if "default" not in part else f"`{_shown(part['default'])}`"
    if "default" not in part and (".options." in key or ".sampling." in key):
        default = "of the architecture"
    choices = f" One of: {', '.join(filter(None, part['enum']))}." if "enum" in part else ""
    text = part["description"].rstrip(".")
    return [f"`{key}`", default, f"{text}.{choices}"]


def _table(header: str, rows: list[list[str]]) -> str:
    lines = [f"| {header} |", "|---" * len(header.split(" | ")) + "|"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _shown(value) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


if __name__ == "__main__":
    print(describe())
