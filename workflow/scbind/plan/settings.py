"""The configuration: check it against the schema, fill in defaults, and report an error in one readable line."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import json
import math
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import yaml

from scbind.core.errors import InputError
from scbind.evaluation.registry import COMPARATORS
from scbind.plan.sheetrows import COLUMNS

SCHEMA = Path(__file__).parents[2] / "schemas" / "config.schema.yaml"
# Every job reads the schema. libyaml, if PyYAML has it, reads it ten times faster.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Thresholds of quality control in the section cells.
THRESHOLDS = frozenset(
    {
        "min_fragments",
        "max_fragments",
        "min_tss",
        "max_nucleosome_signal",
        "min_frac_in_peaks",
        "max_doublet_score",
    }
)
# Keys of a model that is not trained here.
OF_GIVEN_MODELS = frozenset({"bundle", "motif_tfs", "test_windows", "depth_windows"})
STRANGERS = 0.25  # default of options.strangers of a model with motif TFs
ALIKE = 0.75  # least similarity of a key to be proposed for an unknown one: min_dist (0.67) is not min_tss
DEEPEST = 20  # sections within sections
SHEETS = SCHEMA.with_name("sheets.yaml")  # what the columns of the sheets mean
WORDS = {
    "object": "a section",
    "array": "a list",
    "null": "empty",
    "string": "text",
    "boolean": "true or false",
}


# Thresholds of cells per assay, instead of the defaults of the schema.
ASSAYS = {
    "10x_atac": {
        "min_fragments": 1000,
        "max_fragments": 100_000,
        "min_tss": 4,
        "max_nucleosome_signal": 4,
    },
    "10x_multiome": {
        "min_fragments": 1000,
        "max_fragments": 100_000,
        "min_tss": 1,
        "max_nucleosome_signal": 2,
    },
    "snATAC": {"min_fragments": 1000, "min_tss": 7},
}
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


def load_schema(path: str | Path = SCHEMA) -> dict:
    """Read the JSON schema (draft 2020-12) of the configuration."""
    return yaml.load(Path(path).read_text(encoding="utf-8"), LOADER)


def check_config(config: dict, label: str = "config/config.yaml", schema: dict | None = None) -> dict:
    """Return a copy of ``config`` with every default of the schema filled in, in the order of the schema.

    Parameters
    ----------
    config
        The configuration as read from YAML.
    label
        Name of the file, for error messages.
    schema
        The schema. The default is the schema of this workflow.

    Raises
    ------
    InputError
        On the first key that is unknown, missing, of a wrong type or out of range.
    """
    from jsonschema import Draft202012Validator

    schema = schema or load_schema()
    _refuse_odd_keys(config, label, [])
    filled = copy.deepcopy(dict(config))
    cells = filled.get("cells")
    if isinstance(cells, dict) and isinstance(cells.get("assay"), str):
        filled["cells"] = ASSAYS.get(cells["assay"], {}) | cells
    _refuse_training_keys(filled.get("models"), label)
    fill_defaults(filled, schema)
    errors = list(Draft202012Validator(schema).iter_errors(filled))
    if errors:
        # Unknown keys come first, because a misspelled key may cause the other errors.
        errors.sort(key=lambda error: (error.validator != "additionalProperties", _key(error.absolute_path)))
        problem, remedy, path = _explain(errors[0])
        raise InputError(label, problem, remedy, f"key {_key(path)}" if path else "top level")
    for name, model in filled["models"].items():
        _check_motif_tfs(name, model, filled["motifs"], label)
    filled["infer"]["model"] = filled["infer"]["model"] or next(iter(filled["models"]))
    for name in filled["models"]:
        if name in COMPARATORS:
            problem = "a baseline or a published method has this name"
            raise InputError(label, problem, "choose another name", f"key models.{name}")
    chosen, names = filled["infer"]["model"], ", ".join(filled["models"])
    if chosen not in filled["models"]:
        raise InputError(label, f"no model is named {chosen!r}", f"use one of: {names}", "key infer.model")
    window, context = filled["dataset"]["window"], filled["dataset"]["context"]
    if context < window or (context - window) % 2:
        raise InputError(
            label,
            f"{context} bp cannot be centred on windows of {window} bp",
            f"give {window} or more; context minus window must be even",
            "key dataset.context",
        )
    return _in_order(filled, schema)


def looser_thresholds(cells: dict, schema: dict | None = None) -> dict[str, list[float | None]]:
    """Return the thresholds of the section ``cells`` that let more cells pass than the defaults of its assay.

    Name of the key to its value (None: no limit) and the default. ``schema`` as of :func:`check_config`.
    """
    usual: dict = {}
    fill_defaults(usual, (schema or load_schema())["properties"]["cells"])
    usual |= ASSAYS.get(cells["assay"], {})
    found = {}
    for name, default in usual.items():
        if name not in THRESHOLDS or default is None:
            continue
        value = cells[name]
        if value is None or (value > default if name.startswith("max_") else value < default):
            found[name] = [value, default]
    return found


def _check_motif_tfs(name: str, model: dict, motifs: dict, label: str) -> None:
    """Refuse TFs without ChIP-seq that a model cannot predict; set how it is trained for them."""
    if model["motif_tfs"] == "none":
        return
    key = f"key models.{name}.motif_tfs"
    if model["architecture"] != "scbind":
        problem = f"{model['architecture']} predicts only TFs with ChIP-seq"
        raise InputError(label, problem, "set models.*.motif_tfs: none, or use the architecture scbind", key)
    if not motifs["release"] and not motifs["path"]:
        problem = "no motif is known: motifs.release and motifs.path are empty"
        raise InputError(label, problem, "give one of them, or set models.*.motif_tfs: none", key)
    if model["bundle"]:
        return
    if not model["motifs"]:
        problem = (
            "with motifs: false, the model knows no matrix of the release, and these TFs have nothing else"
        )
        raise InputError(label, problem, "set motifs: true, or models.*.motif_tfs: none", key)
    model["options"] = {"strangers": STRANGERS} | model["options"]
    if not model["options"]["strangers"]:
        problem = "TFs without ChIP-seq need a network that was trained for them, and strangers is 0"
        raise InputError(label, problem, "remove options.strangers, or set models.*.motif_tfs: none", key)


def _refuse_training_keys(models, label: str) -> None:
    """Refuse keys beside ``bundle`` that only matter if the model were trained here."""
    for name, entry in models.items() if isinstance(models, dict) else ():
        if isinstance(entry, dict) and entry.get("bundle"):
            for key in sorted(entry.keys() - OF_GIVEN_MODELS):
                raise InputError(
                    label,
                    "has no effect on a model that is given by a bundle",
                    "remove the key, or remove bundle to train the model here",
                    f"key models.{name}.{key}",
                )


def _refuse_odd_keys(part, label: str, path: list) -> None:
    """Refuse keys that YAML does not read as text, such as ``2``, ``NO`` and ``null``, and numbers without a value."""
    if isinstance(part, float) and not math.isfinite(part):
        raise InputError(label, f"{part} is no value", "give a finite number", f"key {_key(path)}")
    if len(path) > DEEPEST:
        raise InputError(label, "a section holds itself", "correct the anchors (&)", f"key {_key(path[:3])}")
    for key, value in part.items() if isinstance(part, dict) else ():
        if not isinstance(key, str):
            kind = "true or false" if isinstance(key, bool) else "empty" if key is None else "a number"
            raise InputError(
                label,
                f"YAML reads this key as {kind} ({key})",
                "write the name in quotes, such as '2' or 'NO'",
                f"key {_key([*path, str(key)])}",
            )
        _refuse_odd_keys(value, label, [*path, key])
    for number, value in enumerate(part) if isinstance(part, list) else ():
        _refuse_odd_keys(value, label, [*path, number])


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that occurs twice in a section; of such keys, YAML readers use the last without a word."""

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and seen.setdefault(key.value, line) != line:
                raise _Twice(
                    problem=f"key {key.value} is also in line {seen[key.value]}", problem_mark=key.start_mark
                )
        return node


class _Twice(yaml.MarkedYAMLError):
    """A key occurs twice in one section."""


def check_yaml(path: str | Path) -> None:
    """Raise :class:`InputError` with line and column if a file is not YAML, not a section of keys, or repeats a key.

    A missing file is left to the caller.
    """
    path = Path(path)
    if not path.is_file():
        return
    try:
        text = path.read_text(encoding="utf-8")
        # As Snakemake reads it: JSON, else YAML, by a loader that refuses a little more than libyaml.
        try:
            content = json.loads(text)
        except ValueError:
            content = yaml.load(text, _UniqueKeys)
    except UnicodeDecodeError as error:
        raise InputError(path, "not a text file in UTF-8", "save it as UTF-8") from error
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "check its permissions") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else None
        problem = " ".join((getattr(error, "problem", None) or str(error)).split())
        twice = isinstance(error, _Twice)
        raise InputError(
            path,
            problem if twice else f"not valid YAML ({problem})",
            "write both parts as one, or remove one of them"
            if twice
            else "correct the line; write text with *, : or # in quotes, and indent by spaces",
            place,
        ) from error
    except (
        ValueError,
        TypeError,
        RecursionError,
        AttributeError,
    ) as error:  # such as a date without a day of that month
        problem = f"not valid YAML ({' '.join(str(error).split())})"
        raise InputError(path, problem, "write text that looks like a date or a number in quotes") from error
    if content is not None and not isinstance(content, dict):
        raise InputError(path, "no keys in it", "write keys and values, as in config/config.yaml")


def fill_defaults(value, schema: dict) -> None:
    """Fill missing keys of nested sections in place, with the ``default`` entries of the schema."""
    if not isinstance(value, dict):
        return
    for key, part in schema.get("properties", {}).items():
        if key not in value and "default" in part:
            value[key] = copy.deepcopy(part["default"])
        if key in value:
            fill_defaults(value[key], part)
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for key in value.keys() - schema.get("properties", {}).keys():
            fill_defaults(value[key], extra)


def _in_order(value, schema: dict):
    """Return a part of a configuration with its keys in the order of the schema.

    A rule that carries a part as a parameter would run again if the user wrote the same keys in another order. Models
    keep their order: the first one is applied to cells.
    """
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties") or {}
    known = {key: _in_order(value[key], properties[key]) for key in properties if key in value}
    free = [key for key in value if key not in properties]
    if "patternProperties" in schema:
        free.sort()
    return known | {key: _in_order(value[key], others if isinstance(others, dict) else {}) for key in free}


def default_options(kind: type, section: str, **changes):
    """Make the options of a step from the defaults of a section of the schema, for callers without a configuration.

    Parameters
    ----------
    kind
        An option dataclass of the package. Each field takes the default of the key with the same name.
    section
        Name of the section, such as ``cells``. ``models`` gives the options of one model.
    changes
        Values that replace the defaults of fields.

    Raises
    ------
    TypeError
        For an unknown field, and for a field that has no default and is not in ``changes``.

    Examples
    --------
    >>> from scbind.formats.geometry import Geometry
    >>> default_options(Geometry, "dataset", step=50)
    Geometry(window=200, step=50, context=1000, min_mappability=0.5)
    """
    part = load_schema()["properties"][section]
    filled = {}
    fill_defaults(filled, part if "properties" in part else part["additionalProperties"])
    fields = {field.name for field in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in filled.items() if name in fields} | changes)


def list_keys(schema: dict | None = None, prefix: str = "") -> Iterator[tuple[str, dict]]:
    """Yield every leaf of the schema as (dotted key, its part of the schema). User-named entries are ``<name>``."""
    schema = load_schema() if schema is None else schema
    for key, part in schema.get("properties", {}).items():
        yield from _leaf(f"{prefix}{key}", part)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _leaf(f"{prefix}<name>", schema["additionalProperties"])


def _leaf(key: str, part: dict) -> Iterator[tuple[str, dict]]:
    if part.get("properties") or isinstance(part.get("additionalProperties"), dict):
        yield from list_keys(part, f"{key}.")
    else:
        yield key, part


def _key(path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _explain(error) -> tuple[str, str, list]:
    """Return problem, remedy and path of the wrong key."""
    path, rule, value, schema = list(error.absolute_path), error.validator, error.instance, error.schema
    if rule == "additionalProperties":
        known = list(schema.get("properties", {}))
        unknown = sorted(str(key) for key in value if key not in known)[0]
        close = difflib.get_close_matches(unknown, known, n=1, cutoff=ALIKE)
        remedy = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
        return "unknown key", remedy, [*path, unknown]
    if rule == "required":
        missing = sorted(set(error.validator_value) - set(value))[0]
        return (
            "this key is missing",
            f"give it{_meaning(schema.get('properties', {}).get(missing, {}))}",
            [*path, missing],
        )
    if rule == "type":
        return _explain_type(value, schema, path)
    if rule == "enum":
        allowed = ", ".join("null" if v is None else str(v) for v in error.validator_value)
        return f"{value!r} is not one of the choices", f"use one of: {allowed}", path
    if rule == "anyOf":
        parts = error.validator_value
        allowed = [str(choice) for part in parts for choice in part.get("enum", [])]
        allowed += [f"{part['minimum']} or more" for part in parts if "minimum" in part]
        allowed += ["a list, such as [A, B]" for part in parts if part.get("type") == "array"]
        return f"{value!r} is not one of the choices", f"use one of: {', '.join(allowed)}", path
    limits = {
        "minimum": ("below", "at least"),
        "maximum": ("above", "at most"),
        "exclusiveMinimum": ("not above", "more than"),
        "exclusiveMaximum": ("not below", "less than"),
    }
    if rule in limits:
        bound = error.validator_value
        return f"{value} is {limits[rule][0]} {bound}", f"give a value of {limits[rule][1]} {bound}", path
    if rule == "pattern":
        if "propertyNames" in error.schema_path:
            return f"{value!r} cannot be a name", "use letters, digits, '_' and '-' only", [*path, value]
        return (
            f"{value!r} has a wrong form",
            schema.get("description", f"it must match {error.validator_value}"),
            path,
        )
    if rule == "propertyNames":
        return (
            f"{value!r} cannot be a name",
            "use letters, digits, '_', '-' and '.' only",
            [*path, str(value)],
        )
    return " ".join(error.message.split()), "see docs/reference/configuration.md", path


def _meaning(schema: dict) -> str:
    """Return ``: `` and the first sentence of the description of a key; empty if it has none."""
    first = schema.get("description", "").partition(". ")[0].rstrip(".")
    if not first[1:2].isupper():  # as in BED
        first = first[:1].lower() + first[1:]
    return f": {first}" if first else ""


def _meant(text: str, kinds: list[str]) -> str:
    """Return the number or truth value that a text stands for, as YAML has to be given it; empty if it stands for none."""
    if "boolean" in kinds and text.lower() in ("true", "false"):
        return text.lower()
    if {"number", "integer"} & set(kinds):
        with suppress(ValueError):
            # YAML reads 1e-3 as text, and 1.0e-03 as a number.
            return text if text.lstrip("+-").isdecimal() else f"{float(text):.1e}"
    return ""


def _explain_type(value, schema: dict, path: list) -> tuple[str, str, list]:
    expected = schema["type"]
    kinds = [expected] if isinstance(expected, str) else list(expected)
    wanted = " or ".join(WORDS.get(kind, f"a{'n' if kind[0] in 'aeiou' else ''} {kind}") for kind in kinds)
    remedy = f"give {wanted}"
    if isinstance(value, str) and (meant := _meant(value, kinds)):
        remedy = f"write {meant} without quotes; in braces after --config every value is text, so use --configfile"
    shown = "nothing" if value is None else repr(value)
    if value is None:
        remedy += _meaning(schema)
    if isinstance(value, dict | list):
        shown = "a section" if isinstance(value, dict) else "a list"
    return f"expected {wanted}, found {shown}", remedy, path


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


if __name__ == "__main__":  # with files: whether they are YAML; without: the reference of the configuration
    try:
        for name in sys.argv[1:]:
            check_yaml(name)
            print(f"{name} is valid YAML")
    except InputError as error:
        sys.exit(f"ERROR {error}")
    if not sys.argv[1:]:
        print(describe())
