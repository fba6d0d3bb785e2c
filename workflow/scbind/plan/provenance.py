"""Where results come from: digests of our code, and a record of inputs, settings and versions."""

from __future__ import annotations

import ast
import csv
import functools
import hashlib
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

import yaml

from scbind.core.errors import InputError
from scbind.core.files import atomic, file_sha256

PACKAGE = Path(__file__).parent
# Messages, logs and the version number: none of them can change a result.
SILENT = frozenset({"scbind", "scbind.core.errors", "scbind.core.runlog"})


def source_digest(*modules: str) -> str:
    """Digest of modules of this package and of all of ours that they import, directly or not.

    Rules carry it among their ``params``, so that an edit of the science reruns exactly the rules that use
    it. It is taken over the syntax tree: comments, docstrings, layout and file times do not change it.

    Parameters
    ----------
    modules
        Names below ``scbind``, such as ``"peaks"`` or ``"models.scfan"``.

    Returns
    -------
    str
        16 hexadecimal digits.

    Raises
    ------
    InputError
        If there is no such module.
    """
    total = hashlib.sha256()
    for name in sorted(_closure([f"scbind.{module}" for module in modules])):
        total.update(name.encode())
        total.update(_module_digest(name).encode())
    return total.hexdigest()[:16]


def template_digest(name: str) -> str:
    """Hash a page template of the package; for the rule that fills it. Returns 16 hexadecimal digits."""
    return file_sha256(PACKAGE / "templates" / name)[:16]


@functools.cache
def imported_modules(module: str) -> frozenset[str]:
    """Full names of the modules of this package that ``module`` (full name) imports anywhere in its text."""
    found = set()
    inside = _is_package(module)
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + (1 if inside else 0)]
                base = ".".join([*parts, base] if base else parts)
            found.add(base)
            # `from scbind import peaks` names a module, `from scbind.peaks.macs3 import call` does not.
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return frozenset(name for name in found if name.split(".")[0] == "scbind" and _path(name) is not None)


def _closure(modules: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in seen or name in SILENT:
            continue
        seen.add(name)
        waiting.extend(imported_modules(name))
        if "." in name:  # importing a.b.c runs a and a.b first
            waiting.append(name.rpartition(".")[0])
    return seen


def _path(module: str) -> Path | None:
    base = PACKAGE.parent.joinpath(*module.split("."))
    for candidate in (base / "__init__.py", base.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def _is_package(module: str) -> bool:
    path = _path(module)
    return path is not None and path.name == "__init__.py"


@functools.cache
def _tree(module: str) -> ast.Module:
    path = _path(module)
    if path is None:
        raise InputError(module, "no such module", f"look for its name in {PACKAGE.name}/")
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and body:
            first = body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                if isinstance(first.value.value, str):
                    node.body = body[1:]
    return tree


@functools.cache
def _module_digest(module: str) -> str:
    return hashlib.sha256(ast.dump(_tree(module)).encode()).hexdigest()


def list_modules() -> list[str]:
    """Names below ``scbind`` of all modules of the package, sorted."""
    paths = (path.relative_to(PACKAGE).with_suffix("").parts for path in PACKAGE.rglob("*.py"))
    return sorted(".".join(parts) for parts in paths if parts[-1] != "__init__")


def list_digests() -> dict[str, str]:
    """Digest (16 hexadecimal digits) of every module of the package with all that it imports of ours."""
    return {name: source_digest(name) for name in list_modules()}


def list_versions() -> dict[str, str]:
    """Version of Python, of bedtools and of every installed distribution."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    try:
        reply = subprocess.run(["bedtools", "--version"], capture_output=True, text=True, check=True)
        versions["bedtools"] = reply.stdout.strip().removeprefix("bedtools v")
    except (OSError, subprocess.CalledProcessError):
        versions["bedtools"] = "not found"
    installed = {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}
    return versions | dict(sorted(installed.items(), key=lambda item: item[0].lower()))


def record(
    config: Mapping,
    sheets: Mapping[str, str],
    inputs: Iterable[str],
    config_out: str | Path,
    sheets_out: str | Path,
    versions_out: str | Path,
    digests_out: str | Path,
    inputs_out: str | Path,
) -> None:
    """Write what a set of results was made from.

    Parameters
    ----------
    config
        The configuration as used: defaults filled in.
    sheets
        Name of each sheet and the path of its file.
    inputs
        Paths of the input files; each is hashed (folders: each file in them).
    config_out, sheets_out, versions_out, digests_out, inputs_out
        ``config.yaml``; one table of ``sheet, line, text``; ``name, version``; ``module, digest``;
        ``path, bytes, sha256``.
    """
    with atomic(config_out) as scratch:
        scratch.write_text(yaml.safe_dump(dict(config), sort_keys=True, allow_unicode=True), encoding="utf-8")
    lines = []
    for name, path in sorted(sheets.items()):
        text = Path(path).read_text(encoding="utf-8").splitlines()
        lines += [(name, number, line) for number, line in enumerate(text, 1)]
    _write_table(sheets_out, ("sheet", "line", "text"), lines)
    _write_table(versions_out, ("name", "version"), list_versions().items())
    _write_table(digests_out, ("module", "digest"), list_digests().items())
    files: list[Path] = []
    for path in sorted({str(p) for p in inputs}):
        found = Path(path)
        files += sorted(p for p in found.rglob("*") if p.is_file()) if found.is_dir() else [found]
    rows = [(path, path.stat().st_size, file_sha256(path)) for path in files]
    _write_table(inputs_out, ("path", "bytes", "sha256"), rows)


def _write_table(path: str | Path, header: tuple[str, ...], rows: Iterable[tuple]) -> None:
    with atomic(path) as scratch, open(scratch, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
