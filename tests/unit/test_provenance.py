import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from scbind.core.errors import InputError
from scbind.plan import provenance

WORKFLOW = Path(provenance.__file__).parent.parent


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of four modules: top -> middle -> base, and one that nobody imports."""
    folder = tmp_path / "scbind"
    (folder / "parts").mkdir(parents=True)
    files = {
        "__init__.py": "__version__ = '1'\n",
        "top.py": "def run():\n    from scbind import middle\n    return middle.two()\n",
        "middle.py": "from scbind.parts.base import one\n\n\ndef two():\n    return one() + 1\n",
        "parts/__init__.py": "",
        "parts/base.py": "from .leaf import ZERO\n\n\ndef one():\n    return ZERO + 1\n",
        "parts/leaf.py": "ZERO = 0\n",
        "other.py": "X = 1\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(provenance, "PACKAGE", folder)
    forget()
    yield folder
    forget()


def forget():
    provenance._tree.cache_clear()
    provenance._module_digest.cache_clear()


def changed_by(package, name, text):
    """Whose digests change when a module's text does."""
    before = provenance.list_digests()
    (package / name).write_text(text)
    forget()
    after = provenance.list_digests()
    return {module for module in before if before[module] != after[module]}


def test_an_edit_changes_exactly_the_modules_that_use_it(package):
    assert changed_by(package, "parts/leaf.py", "ZERO = 5\n") == {"parts.leaf", "parts.base", "middle", "top"}
    assert changed_by(package, "other.py", "X = 2\n") == {"other"}
    assert changed_by(package, "top.py", "def run():\n    return 3\n") == {"top"}


def test_package_init_counts_for_its_modules(package):
    assert changed_by(package, "parts/__init__.py", "Y = 1\n") == {
        "parts.base",
        "parts.leaf",
        "middle",
        "top",
    }


def test_comments_docstrings_and_version_do_not_count(package):
    assert changed_by(package, "parts/leaf.py", '"""Doc."""\n\n# why\nZERO    =    0\n') == set()
    assert changed_by(package, "__init__.py", "__version__ = '2'\n") == set()


def test_digest_of_several_modules_depends_on_each(package):
    both = provenance.source_digest("top", "other")
    assert both == provenance.source_digest("other", "top")
    assert len({both, provenance.source_digest("top"), provenance.source_digest("other")}) == 3


def test_unknown_module_is_named(package):
    with pytest.raises(InputError, match="scbind.topp: no such module"):
        provenance.source_digest("topp")


def test_real_modules_follow_their_imports():
    assert "scbind.core.errors" in provenance.imported_modules("scbind.core.files")
    assert "scbind.formats.genome" in provenance.imported_modules("scbind.formats.signal")


def test_what_the_snakefile_imports_is_light():
    code = (
        "import sys; from scbind import settings, sheets, provenance; provenance.list_digests(); "
        "print(sorted({'torch', 'scanpy', 'pandas', 'numpy', 'anndata', 'matplotlib'} & set(sys.modules)))"
    )
    reply = subprocess.run(
        [sys.executable, "-c", code], cwd=WORKFLOW, capture_output=True, text=True, check=True
    )
    assert reply.stdout.strip() == "[]"


def test_record_writes_what_was_used(tmp_path, package):
    sheet, data = tmp_path / "tracks.tsv", tmp_path / "data"
    sheet.write_text("cell_line\tpath\nA\tx\n")
    data.mkdir()
    (data / "b.txt").write_text("abc")
    (data / "a.txt").write_text("")
    names = ("config.yaml", "sheets.tsv", "versions.tsv", "digests.tsv", "inputs.tsv")
    out = [tmp_path / "provenance" / name for name in names]
    provenance.record({"seed": 1, "a": {"b": None}}, {"tracks": str(sheet)}, [str(data), str(data)], *out)
    assert yaml.safe_load(out[0].read_text()) == {"seed": 1, "a": {"b": None}}
    assert 'tracks\t2\t"A\tx"' in out[1].read_text()
    versions = dict(line.split("\t", 1) for line in out[2].read_text().splitlines())
    assert versions["python"].startswith("3.") and versions["pytest"] == pytest.__version__
    assert "middle\t" + provenance.source_digest("middle") in out[3].read_text().splitlines()
    assert out[4].read_text().splitlines() == [
        "path\tbytes\tsha256",
        f"{data}/a.txt\t0\te3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        f"{data}/b.txt\t3\tba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ]
