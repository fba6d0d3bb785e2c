"""The words of an error of the configuration: which key is wrong, what is wrong, and how to correct it."""

from __future__ import annotations

import difflib
from contextlib import suppress

ALIKE = 0.75  # least similarity of a key to be proposed for an unknown one: min_dist (0.67) is not min_tss
WORDS = {
    "object": "a section",
    "array": "a list",
    "null": "empty",
    "string": "text",
    "boolean": "true or false",
}


def dotted(path) -> str:
    """Return the name of a key from the names and numbers on the way to it: ``splits.test[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def explain(error) -> tuple[str, str, list]:
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
    """Return the number or truth value that a text stands for, in the form that YAML needs; empty if there is none."""
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
        remedy = (
            f"write {meant} without quotes; in braces after --config every value is text, so use --configfile"
        )
    shown = "nothing" if value is None else repr(value)
    if value is None:
        remedy += _meaning(schema)
    if isinstance(value, dict | list):
        shown = "a section" if isinstance(value, dict) else "a list"
    return f"expected {wanted}, found {shown}", remedy, path
