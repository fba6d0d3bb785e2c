"""Names of the package in the documents are those of the code."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def exists(name: str) -> bool:
    """Whether a dotted name is a module of the package, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            if not hasattr(found, attribute):
                return False
            found = getattr(found, attribute)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_in_the_documents_exist(page):
    names = set(re.findall(r"`(scbind\.[A-Za-z_][\w.]*\w)", page.read_text()))
    assert not [name for name in sorted(names) if not exists(name)]


def test_a_name_that_is_gone_is_found():
    assert exists("scbind.core.files.atomic") and not exists("scbind.core.files.gone")
