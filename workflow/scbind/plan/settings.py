"""The configuration: checked against its schema, defaults filled in, one readable line when it is wrong."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator
from pathlib import Path

import yaml

from scbind.core.errors import InputError

SCHEMA = Path(__file__).parents[2] / "schemas" / "config.schema.yaml"
WORDS = {
    "object": "a section",
    "array": "a list",
    "null": "empty",
    "string": "text",
    "boolean": "true or false",
}


# Thresholds of cells per assay, in place of the schema's defaults; sources in docs/configuration.md.
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


def load_schema(path: str | Path = SCHEMA) -> dict:
    """Read the JSON schema (draft 2020-12) of the configuration."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def check_config(config: dict, label: str = "config/config.yaml", schema: dict | None = None) -> dict:
    """Return a copy of ``config`` with every default of the schema filled in.

    Parameters
    ----------
    config
        As read from YAML.
    label
        The file that a message names.
    schema
        The schema; by default the one of this workflow.

    Raises
    ------
    InputError
        On the first key that is unknown, missing, of a wrong type or out of range.
    """
    from jsonschema import Draft202012Validator

    schema = schema or load_schema()
    filled = copy.deepcopy(dict(config))
    cells = filled.get("cells")
    if isinstance(cells, dict) and isinstance(cells.get("assay"), str):
        filled["cells"] = ASSAYS.get(cells["assay"], {}) | cells
    fill_defaults(filled, schema)
    errors = list(Draft202012Validator(schema).iter_errors(filled))
    if errors:
        # Unknown keys first: a misspelled key is the cause of what else may be wrong.
        errors.sort(key=lambda error: (error.validator != "additionalProperties", _key(error.absolute_path)))
        problem, remedy, path = _explain(errors[0])
        raise InputError(label, problem, remedy, f"key {_key(path)}" if path else "top level")
    chosen, names = filled["infer"]["model"], ", ".join(filled["models"])
    if chosen not in filled["models"]:
        raise InputError(label, f"no model is named {chosen!r}", f"use one of: {names}", "key infer.model")
    window, context = filled["dataset"]["window"], filled["dataset"]["context"]
    if context < window or (context - window) % 2:
        raise InputError(
            label,
            f"{context} bp cannot be centred on windows of {window} bp",
            f"give {window} or more, and an even difference of the two",
            "key dataset.context",
        )
    return filled


def fill_defaults(value, schema: dict) -> None:
    """Fill missing keys of nested sections from ``default`` entries of the schema, in place."""
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


def list_keys(schema: dict | None = None, prefix: str = "") -> Iterator[tuple[str, dict]]:
    """Every leaf of the schema as (dotted key, its part of it); named entries appear as ``<name>``."""
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
    """Problem, remedy and path of the key at fault."""
    path, rule, value, schema = list(error.absolute_path), error.validator, error.instance, error.schema
    if rule == "additionalProperties":
        known = list(schema.get("properties", {}))
        unknown = sorted(str(key) for key in value if key not in known)[0]
        close = difflib.get_close_matches(unknown, known, n=1, cutoff=0.6)
        remedy = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
        return "unknown key", remedy, [*path, unknown]
    if rule == "required":
        missing = sorted(set(error.validator_value) - set(value))[0]
        return "this key is missing", "see docs/configuration.md for what it means", [*path, missing]
    if rule == "type":
        return _explain_type(value, error.validator_value, path)
    if rule == "enum":
        allowed = ", ".join("null" if v is None else str(v) for v in error.validator_value)
        return f"{value!r} is not one of the choices", f"use one of: {allowed}", path
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
    return " ".join(error.message.split()), "see docs/configuration.md", path


def _explain_type(value, expected, path: list) -> tuple[str, str, list]:
    kinds = [expected] if isinstance(expected, str) else list(expected)
    wanted = " or ".join(WORDS.get(kind, f"a{'n' if kind[0] in 'aeiou' else ''} {kind}") for kind in kinds)
    remedy = f"give {wanted}"
    if isinstance(value, str) and {"number", "integer"} & set(kinds):
        try:
            float(value)
            remedy = f"write the number without quotes and with a decimal point, such as {float(value):.1e}"
        except ValueError:
            pass
    shown = "nothing" if value is None else repr(value)
    if isinstance(value, dict | list):
        shown = "a section" if isinstance(value, dict) else "a list"
    return f"expected {wanted}, found {shown}", remedy, path


def describe(schema: dict | None = None) -> str:
    """The table of all keys for ``docs/configuration.md``, in Markdown."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for key, part in list_keys(schema):
        default = "required" if "default" not in part else f"`{_shown(part['default'])}`"
        if "default" not in part and (".options." in key or ".sampling." in key):
            default = "of the architecture"
        choices = f" One of: {', '.join(part['enum'])}." if "enum" in part else ""
        text = part["description"].replace("|", "\\|").rstrip(".")
        lines.append(f"| `{key}` | {default} | {text}.{choices} |")
    return "\n".join(lines)


def _shown(value) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


if __name__ == "__main__":
    print(describe())
