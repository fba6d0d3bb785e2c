"""Digests of our code. A rule carries the digest of the modules that it runs, so only an edit of these reruns it.

A digest covers the syntax trees of a module and of all modules of this package that it imports. It ignores comments,
docstrings, layout and file times. It also ignores the names and folders of modules: modules are numbered in the order
in which imports name them, and an import counts as the number of its module. Two equal digests therefore mean the
same code, put together in the same way. Names that code binds do count, including the name of the module in
``from folder import module``. To rename a module without a rerun, bind the old name (``import new as old``).
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

from scbind.core.errors import InputError
from scbind.core.files import file_sha256, remember

PACKAGE = Path(__file__).parents[1]
# None of them can change a result: the version number, messages, logs, names of scratch files, and which GPU is free.
SILENT = frozenset(
    {"scbind"} | {f"scbind.core.{name}" for name in ("errors", "runlog", "progress", "scratch", "gpulocks")}
)


def source_digest(*modules: str, script: str | None = None) -> str:
    """Return one digest of modules and of all modules of this package that they import, directly or indirectly.

    Parameters
    ----------
    modules
        Names below ``scbind``, such as ``"peaks.macs3"``, in any order.
    script
        Name of the script of the rule. Its own code counts as well, by content: Snakemake would compare the time of the
        file, which a fresh checkout changes.

    Returns
    -------
    str
        16 hexadecimal digits.

    Raises
    ------
    InputError
        If there is no such module.
    """
    kept = _kept()
    each = sorted(kept.get(module) or _digest(f"scbind.{module}") for module in modules)
    if script:
        each.append(_read(f"scripts.{script}")[0])
    return hashlib.sha256("".join(each).encode()).hexdigest()[:16]


def keep_digests(path: str | Path) -> None:
    """Cache the digests of all modules in the JSON file ``path``. The cache is valid until a module changes.

    Every job of a run plans again and needs the same digests, and computing them takes longer than planning. If the
    file cannot be read or written, the digests are computed and no error is raised.
    """
    text = hashlib.sha256(sys.version.encode())
    for module in sorted(PACKAGE.rglob("*.py")):
        text.update(f"{module.relative_to(PACKAGE)}\0".encode() + module.read_bytes())
    _kept().update(remember(path, text.hexdigest(), _all_digests))


def _all_digests() -> dict[str, str]:
    return {name: _digest(f"scbind.{name}") for name in list_modules()}


@functools.cache
def _kept() -> dict[str, str]:
    """Digests read from the file of :func:`keep_digests`, by the name of the module below ``scbind``."""
    return {}


def template_digest(name: str) -> str:
    """Return the hash (16 hexadecimal digits) of a page template of the package, for the rule that fills it."""
    return file_sha256(PACKAGE / "report" / "templates" / name)[:16]


def table_digest(name: str) -> str:
    """Return the hash (16 hexadecimal digits) of a table of published figures, for the rule that reads it."""
    return file_sha256(PACKAGE / "evaluation" / "tables" / f"{name}.tsv")[:16]


def imported_modules(module: str) -> frozenset[str]:
    """Return the full names of the modules of this package that ``module`` (full name) imports anywhere."""
    return frozenset(target for modules in _read(module)[1] for target in modules)


def list_modules() -> list[str]:
    """Return the sorted names (below ``scbind``) of all modules of the package."""
    paths = (path.relative_to(PACKAGE).with_suffix("").parts for path in PACKAGE.rglob("*.py"))
    return sorted(".".join(parts) for parts in paths if parts[-1] != "__init__")


def list_code() -> list[Path]:
    """Return the files of the workflow that hold code: modules, scripts and rules, sorted."""
    return sorted(
        path
        for path in PACKAGE.parent.rglob("*")
        if path.suffix in (".py", ".smk") or path.name == "Snakefile"
    )


def list_digests() -> dict[str, str]:
    """Return name -> :func:`source_digest` (16 hexadecimal digits) of every module of the package."""
    return {name: source_digest(name) for name in list_modules()}


@functools.cache
def _digest(root: str) -> str:
    total = hashlib.sha256()
    waiting = _run_by(root)
    numbers = {name: number for number, name in enumerate(waiting)}
    for name in waiting:  # the loop appends to it
        text, imports = _read(name)
        total.update(text.encode())
        for modules in imports:
            met = []
            for each in (each for target in modules for each in _run_by(target)):
                if each not in numbers:
                    numbers[each] = len(numbers)
                    waiting.append(each)
                met.append(numbers[each])
            total.update(repr(met).encode())
    return total.hexdigest()


def _run_by(module: str) -> list[str]:
    """List the modules that run when a module is imported, in order: its parent packages with code, then itself."""
    parts = module.split(".")
    names = [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    return [name for name in names if name not in SILENT and not (name != module and _is_empty(name))]


@functools.cache
def _read(module: str) -> tuple[str, tuple[tuple[str, ...], ...]]:
    """Hash a module's own code without names of modules, and list the modules that its imports load, in order."""
    tree = _tree(module)
    for block in _blocks(tree):
        block[:] = _plain(block, module)
    imports = [node.modules for block in _blocks(tree) for node in block if isinstance(node, _Ours)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(imports)


def _blocks(tree: ast.AST) -> Iterator[list]:
    """Yield each list of statements in the tree, level by level; what it yields may be changed in place.

    Imports and docstrings are statements. Expressions, which are most of a tree, hold none.
    """
    waiting = [tree]
    for node in waiting:  # the loop appends to it
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            block = getattr(node, field, None)
            if isinstance(block, list):  # the body of a lambda is an expression
                yield block
                waiting += block


class _Ours(ast.Import):
    """One name that an import from this package binds. ``modules`` is not a field, so dumps leave it out."""

    modules: tuple[str, ...] = ()


def _plain(block: list[ast.AST], module: str) -> list[ast.AST]:
    """Split imports from this package into one per bound name, sort them, and remove the names of modules.

    Formatters sort and join imports by the names of modules, so order and grouping must not count. Order cannot change
    a result either, because no module of this package has side effects on others when it is imported.
    """
    plain: list[ast.AST] = []
    run: list[_Ours] = []
    for node in block:
        ours, others = _split(node, module)
        if others:
            plain += [*sorted(run, key=ast.dump), *others]
            run = []
        run += ours
    return [*plain, *sorted(run, key=ast.dump)]


def _split(node: ast.AST, module: str) -> tuple[list[_Ours], list[ast.AST]]:
    """Split an import into the names from this package and the rest. Return other statements unchanged."""
    if isinstance(node, ast.ImportFrom):
        base = _base(module, node)
        if base.split(".")[0] == "scbind":
            return [_from(base, alias) for alias in node.names], []
    if isinstance(node, ast.Import):
        ours = [alias for alias in node.names if alias.name.split(".")[0] == "scbind"]
        rest = [alias for alias in node.names if alias not in ours]
        # Without `as`, the code spells the module's name at each use, so the name counts.
        names = [(ast.alias("" if a.asname else a.name, a.asname), (a.name,)) for a in ours]
        return [_ours(*name) for name in names], [ast.Import(rest)] if rest else []
    return [], [node]


def _from(base: str, alias: ast.alias) -> _Ours:
    bound, inner = alias.asname or alias.name, f"{base}.{alias.name}"
    # `from scbind.peaks import macs3` names a module, `from scbind.peaks.macs3 import call` does not.
    if _path(inner) is not None:
        return _ours(ast.alias("", bound), (inner,))
    return _ours(ast.alias(alias.name, bound), (base,))


def _ours(alias: ast.alias, modules: tuple[str, ...]) -> _Ours:
    node = _Ours([alias])
    node.modules = modules
    return node


def _base(module: str, node: ast.ImportFrom) -> str:
    """Return the full name of the module or package after ``from`` in a ``from ... import`` of ``module``."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + (1 if _is_package(module) else 0)]
    return ".".join([*parts, node.module] if node.module else parts)


def _path(module: str) -> Path | None:
    base = PACKAGE.parent.joinpath(*module.split("."))
    for candidate in (base / "__init__.py", base.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def _is_package(module: str) -> bool:
    path = _path(module)
    return path is not None and path.name == "__init__.py"


def _tree(module: str) -> ast.Module:
    path = _path(module)
    if path is None:
        raise InputError(module, "no such module", f"look for its name in {PACKAGE.name}/")
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in [tree, *(node for block in _blocks(tree) for node in block)]:
        if isinstance(node, documented) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                if isinstance(first.value.value, str):
                    del node.body[0]
    return tree


@functools.cache
def _is_empty(module: str) -> bool:
    return not _tree(module).body


def forget() -> None:
    """Clear all caches, so that changed modules are read again."""
    for cached in (_digest, _read, _is_empty, _kept):
        cached.cache_clear()
