"""An edit of code reruns the rules that run it, and no others."""

import json
import re
import subprocess
import sys

import pytest
from scbind.core.errors import InputError
from scbind.plan import digests

WORKFLOW = digests.PACKAGE.parent
RECORD = "record_provenance"  # it lists the digests of all modules, so every edit reruns it


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
    monkeypatch.setattr(digests, "PACKAGE", folder)
    digests.forget()
    yield folder
    digests.forget()


def changed_by(package, name, text):
    """Whose digests change when a module's text does."""
    before = digests.list_digests()
    (package / name).write_text(text)
    digests.forget()
    after = digests.list_digests()
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
    both = digests.source_digest("top", "other")
    assert both == digests.source_digest("other", "top")
    assert len({both, digests.source_digest("top"), digests.source_digest("other")}) == 3


def test_unknown_module_is_named(package):
    with pytest.raises(InputError, match="scbind.topp: no such module"):
        digests.source_digest("topp")


def test_real_modules_follow_their_imports():
    assert "scbind.core.errors" in digests.imported_modules("scbind.core.files")
    assert "scbind.formats.genome" in digests.imported_modules("scbind.formats.signal")


def test_what_the_snakefile_imports_is_light():
    code = (
        "import sys; from scbind.plan import settings, sheets, digests; digests.list_digests(); "
        "print(sorted({'torch', 'scanpy', 'pandas', 'numpy', 'anndata', 'matplotlib'} & set(sys.modules)))"
    )
    reply = subprocess.run(
        [sys.executable, "-c", code], cwd=WORKFLOW, capture_output=True, text=True, check=True
    )
    assert reply.stdout.strip() == "[]"


def test_names_and_places_of_modules_do_not_count(package):
    before = digests.source_digest("top")
    (package / "elsewhere").mkdir()
    (package / "elsewhere/__init__.py").write_text('"""A folder."""\n')
    (package / "parts/leaf.py").rename(package / "elsewhere/trunk.py")
    (package / "parts/base.py").write_text(
        "from scbind.elsewhere.trunk import ZERO\n\n\ndef one():\n    return ZERO + 1\n"
    )
    digests.forget()
    assert digests.source_digest("top") == before


def test_which_module_a_name_comes_from_counts(package):
    texts = {"left": "def f():\n    return 1\n", "right": "def f():\n    return 2\n"}
    for name, text in texts.items():
        (package / f"{name}.py").write_text(text)
    one = "from scbind.left import f\nfrom scbind.right import f as g\n"
    (package / "one.py").write_text(one)
    (package / "two.py").write_text(one.replace("left", "x").replace("right", "left").replace("x", "right"))
    (package / "three.py").write_text("\n".join(reversed(one.splitlines())) + "\n")
    assert digests.source_digest("one") == digests.source_digest("three")
    assert digests.source_digest("one") != digests.source_digest("two")


def test_modules_that_import_each_other_have_a_digest(package):
    (package / "ping.py").write_text("def a():\n    from scbind.pong import b\n    return b\n")
    (package / "pong.py").write_text("from scbind.ping import a\n\nb = 1\n")
    assert changed_by(package, "pong.py", "from scbind.ping import a\n\nb = 2\n") == {"ping", "pong"}


def rules():
    """Modules that the digests of each rule are made of; but for the rule that records all of them."""
    found = {}
    for path in sorted((WORKFLOW / "rules").glob("*.smk")):
        for name, block in re.findall(
            r"^(?:rule|checkpoint) (\w+):\n((?:(?:    .*)?\n)*)", path.read_text(), flags=re.M
        ):
            given = " ".join(re.findall(r"source_digest\((.*?)\)", block))
            modules = re.findall(r'(?<!=)"([\w.]+)"', given)
            if modules:
                found[name] = modules
    return found


def planned(rename=None):
    """Digests of each rule, as the package on disk is now."""
    digests.forget()
    rename = rename or {}
    return {name: [digests.source_digest(rename.get(m, m)) for m in used] for name, used in rules().items()}


def reruns(before, after):
    return {name for name in before if before[name] != after[name]}


def test_every_rule_that_runs_our_code_is_looked_at():
    scripts = {path.stem for path in (WORKFLOW / "scripts").glob("*.py")}
    # what a download gives is fixed by its checksum
    assert scripts - set(rules()) == {RECORD, "fetch_source"}


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("bulk/shift.py", {"bulk_track"}),
        ("bulk/ends.py", {"bulk_track"}),
        ("bulk/tracks.py", {"bulk_track"}),
        ("formats/bam.py", {"bulk_track", "bam_fragments"}),
        ("formats/fragments.py", 8),
        ("peaks/macs3.py", 4),
        ("core/errors.py", 0),
        ("core/progress.py", 0),
        ("core/scratch.py", 0),
        ("core/gpulocks.py", 0),
    ],
)
def test_an_edit_of_a_real_module_reruns_what_runs_it(copied, module, expected):
    before = planned()
    path = copied / module
    path.write_text(path.read_text() + "\n\nEDITED = 1\n")
    found = reruns(before, planned())
    assert (found if isinstance(expected, set) else len(found)) == expected, found


@pytest.mark.parametrize(
    "module", ["binding/activity", "binding/merging", "formats/colours", "dataset/splits"]
)
def test_an_edit_of_what_comes_after_the_inference_does_not_repeat_it(copied, module):
    before = planned()
    path = copied / f"{module}.py"
    path.write_text(path.read_text() + "\n\nEDITED = 1\n")
    found = reruns(before, planned())
    assert "activity_matrix" in found or "merge_shards" in found
    assert not found & {"infer_binding", "reference_profile", "sequence_readout"}, found


def test_a_change_inside_a_function_counts(copied):
    before = planned()
    path = copied / "bulk/shift.py"
    text = path.read_text()
    path.write_text(re.sub(r"\n    return ", "\n    0\n    return ", text, count=1))
    assert path.read_text() != text
    assert reruns(before, planned()) == {"bulk_track"}


def test_docstrings_and_comments_of_all_modules_rerun_nothing(copied):
    before = planned()
    for path in copied.rglob("*.py"):
        text = path.read_text()
        assert text.startswith('"""')
        path.write_text('"""Other words.' + text[3:].replace("\n\n\ndef ", "\n\n\n# Why.\ndef "))
    assert reruns(before, planned()) == set()


def test_other_names_of_modules_rerun_nothing(copied):
    before = planned()
    new = {
        "formats.intervals": "formats.a_peaks",
        "peaks.macs3": "peaks.zz_caller",
        "bulk.shift": "formats.frame",
    }
    for old, name in new.items():
        (copied / (old.replace(".", "/") + ".py")).rename(copied / (name.replace(".", "/") + ".py"))
    for path in copied.rglob("*.py"):
        text = path.read_text()
        for old, name in new.items():
            text = text.replace(f"scbind.{old}", f"scbind.{name}")
        path.write_text(text)
    subprocess.run(
        [sys.executable, "-m", "ruff", "check", "-q", "--isolated", "--select", "I", "--fix", copied],
        check=True,
    )
    assert reruns(before, planned(new)) == set()


def test_digests_that_were_kept_are_used_until_a_module_changes(package, tmp_path):
    path, expected = tmp_path / "kept" / "digests.json", digests.list_digests()
    digests.keep_digests(path)
    written = json.loads(path.read_text())
    digests.forget()
    path.write_text(json.dumps(written | {"value": dict.fromkeys(written["value"], "kept")}))
    digests.keep_digests(path)
    assert digests.source_digest("top") == digests.source_digest("other")  # from the file
    (package / "other.py").write_text("X = 2\n")
    digests.forget()
    digests.keep_digests(path)
    assert (
        digests.source_digest("top") == expected["top"]
        and digests.source_digest("other") != expected["other"]
    )
    assert json.loads(path.read_text())["key"] != written["key"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 1}'])
def test_a_file_of_digests_that_cannot_be_read_is_made_anew(package, tmp_path, text):
    path, expected = tmp_path / "digests.json", digests.list_digests()
    path.write_text(text)
    digests.forget()
    digests.keep_digests(path)
    digests.forget()
    digests.keep_digests(path)
    assert digests.list_digests() == expected
    digests.keep_digests("/proc/absent/digests.json")
    assert digests.list_digests() == expected
