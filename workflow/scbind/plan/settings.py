"""The configuration: check it against the schema, fill in defaults, and report an error in one readable line."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import yaml

from scbind.core.errors import InputError
from scbind.evaluation.registry import COMPARATORS
from scbind.plan.wrongkeys import dotted, explain

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
DEEPEST = 20  # sections within sections
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
        errors.sort(
            key=lambda error: (error.validator != "additionalProperties", dotted(error.absolute_path))
        )
        problem, remedy, path = explain(errors[0])
        raise InputError(label, problem, remedy, f"key {dotted(path)}" if path else "top level")
    for name, model in filled["models"].items():
        _check_extends(name, model, filled["evaluate"], label)
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


def _check_extends(name: str, model: dict, evaluate: dict, label: str) -> None:
    """Refuse settings that do not fit a model that extends another one."""
    if not model["extends"]:
        return
    place = f"key models.{name}"
    if model["architecture"] != "scbind":
        problem = f"{model['architecture']} cannot extend a model"
        raise InputError(label, problem, "use the architecture scbind, or remove the key", f"{place}.extends")
    if model["options"]:
        problem = "a model that extends another one has the options of its network"
        raise InputError(label, problem, "remove the key", f"{place}.options.{min(model['options'])}")
    if evaluate["left_out_tfs"]:
        problem = f"the training of the model that {name} extends may have seen the TFs that are left out"
        raise InputError(
            label, problem, f"use 0, or remove models.{name}.extends", "key evaluate.left_out_tfs"
        )


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
    if model["extends"]:  # was trained for them
        return
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
        raise InputError(label, f"{part} is no value", "give a finite number", f"key {dotted(path)}")
    if len(path) > DEEPEST:
        raise InputError(
            label, "a section holds itself", "correct the anchors (&)", f"key {dotted(path[:3])}"
        )
    for key, value in part.items() if isinstance(part, dict) else ():
        if not isinstance(key, str):
            kind = "true or false" if isinstance(key, bool) else "empty" if key is None else "a number"
            raise InputError(
                label,
                f"YAML reads this key as {kind} ({key})",
                "write the name in quotes, such as '2' or 'NO'",
                f"key {dotted([*path, str(key)])}",
            )
        _refuse_odd_keys(value, label, [*path, key])
    for number, value in enumerate(part) if isinstance(part, list) else ():
        _refuse_odd_keys(value, label, [*path, number])


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
