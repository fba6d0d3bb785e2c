"""Which folder of the package may import which."""

import ast
import re
from pathlib import Path

import pytest
from scbind.plan import digests

# A folder imports itself and folders of the lines above its own. Folders of one line never import each other.
ORDER = [
    {"core"},
    {"formats"},
    {"reference", "bulk", "peaks", "dataset", "cells"},
    {"models"},
    {"evaluation", "discovery"},
    {"binding"},
    {"analysis"},
    {"demo", "report", "plan"},
]
FLOOR = {room: number for number, rooms in enumerate(ORDER) for room in rooms}
# Their results, or their time to start, should not depend on libraries that only the making of files needs.
LIGHT = """dataset.trainingset models.training models.predictor models.calibration evaluation.evaluate evaluation.depth
    evaluation.baselines binding.inference binding.referenceprofile""".split()
HEAVY = {"pyranges", "pyarrow", "pysam", "pyBigWig"}
# They take half a second to seconds to import, so only the functions that need them import them.
SLOW = {"torch", "scanpy", "scipy.stats", "sklearn", "statsmodels", "matplotlib"}
SCRIPTS = {path.stem: path for path in (digests.PACKAGE.parent / "scripts").glob("*.py")}
DRAW = {"draw_explained", "write_report"}  # figures: they need matplotlib
NETWORKS = """add_motif_tfs calibrate_model evaluate_baselines evaluate_depth evaluate_left_out evaluate_model
    evaluate_oracle explain_loci make_bundle score_cells train_model unpack_bundle variant_effects""".split()


def breaches():
    """Every import between two folders that the order does not allow, as ``module -> module``."""
    found = []
    for module in digests.list_modules():
        for target in digests.imported_modules(f"scbind.{module}"):
            here, there = module.split(".")[0], (target.split(".") + [""])[1]
            if there not in ("", here) and FLOOR[there] >= FLOOR[here]:
                found.append(f"{module} -> {target}")
    return found


def test_folders_import_only_from_those_below():
    assert breaches() == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("core/files.py", "from scbind.formats import genome"),
        ("peaks/coverage.py", "from scbind.bulk.tracks import insertion_track"),
        ("report/page.py", "def f():\n    from ..plan import settings"),
    ],
)
def test_a_breach_is_found(copied, module, line):
    path = copied / module
    path.write_text(path.read_text() + f"\n{line}\n")
    digests.forget()
    assert {breach.split()[0] for breach in breaches()} == {module[:-3].replace("/", ".")}


def test_every_folder_is_in_the_order_and_every_module_in_a_folder():
    folders = {path.parent.name for path in digests.PACKAGE.glob("*/__init__.py")}
    assert folders == set(FLOOR)
    assert {path.name for path in digests.PACKAGE.glob("*.py")} == {"__init__.py"}
    for room in folders:
        text = (digests.PACKAGE / room / "__init__.py").read_text().strip()
        assert re.fullmatch(r'"""[^"]+"""', text), "importing one module of a folder must not load the others"


def test_the_design_shows_the_order():
    text = (Path(__file__).parents[2] / "docs/explanation/design.md").read_text()
    section = text.partition("## Modules\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| (\d+) \| `(\w+)` \| (.*?) \|", section, flags=re.M)
    assert {(int(number), room) for number, room, _ in listed} == {(n + 1, room) for room, n in FLOOR.items()}
    named = {room: re.findall(r"`(\w+)`", modules) for _, room, modules in listed}
    here = {}
    for room, _, module in (name.partition(".") for name in digests.list_modules()):
        here.setdefault(room, []).append(module)
    assert {room: sorted(modules) for room, modules in named.items()} == here


def imports_among(nodes):
    """What these statements import: modules of any library, and the names from them, which may be modules."""
    found = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def loaded(names):
    """Names of the libraries that importing these modules loads, through ours as well: ``scipy``, ``scipy.stats``."""
    found, seen, waiting = set(), set(), list(names)
    for name in waiting:
        found |= {".".join(name.split(".")[:depth]) for depth in (1, 2)}
        path = digests.PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py")
        if name not in seen and path.is_file():
            seen.add(name)
            # imports inside functions wait until they are called
            waiting += imports_among(ast.parse(path.read_text()).body)
    return found


def loaded_at_start(script):
    """The same for a job. All imports of its script count: they are inside the block that keeps the log."""
    return loaded(imports_among(ast.walk(ast.parse(SCRIPTS[script].read_text()))))


@pytest.mark.parametrize("module", LIGHT)
def test_what_reads_the_dataset_imports_no_reader_of_genomic_files(module):
    found = loaded([f"scbind.{module}"])
    assert not found & HEAVY
    assert "numpy" in found, "or nothing was looked at"


def test_readers_of_genomic_files_are_seen():
    assert "pysam" in loaded(["scbind.bulk.tracks"])


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_jobs_start_without_slow_libraries(script):
    slow = loaded_at_start(script) & SLOW
    if script in NETWORKS:
        assert "torch" in slow, "it is a job without a network"
    else:
        assert slow == ({"matplotlib"} if script in DRAW else set())


@pytest.mark.parametrize(
    "line", ["import scipy.stats", "from scipy import sparse, stats", "from scipy.stats import norm"]
)
def test_a_slow_start_is_found(copied, line):
    path = copied / "analysis/linkmodel.py"  # two modules away from the script
    path.write_text(f"{path.read_text()}\n\n{line}\n")
    assert loaded_at_start("tf_links") & SLOW == {"scipy.stats"}


def test_slow_libraries_inside_functions_wait(copied):
    path = copied / "analysis/linkmodel.py"
    path.write_text(f"{path.read_text()}\n\ndef late():\n    import scipy.stats\n")
    assert not loaded_at_start("tf_links") & SLOW


def test_each_public_name_is_one_function():
    """A name that two modules define means two things. Sections of the report are called after what they show."""
    found = {}
    for module in digests.list_modules():
        path = digests.PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(module)
    assert {name: modules for name, modules in found.items() if len(modules) > 1} == {}


@pytest.mark.parametrize(
    ("word", "rooms"),
    [
        ("targets", {"analysis", "report"}),  # genes that a TF regulates; what a model learns is a label
        ("references", set()),  # baselines that do not compete are controls
        ("rivals", set()),  # but competitors
        ("read_passing", set()),  # read_passing_cells, read_typed_cells and passing_rows say which
    ],
)
def test_a_word_has_its_meaning_in_these_rooms_alone(word, rooms):
    using = set()
    for module in digests.list_modules():
        path = digests.PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            names = {str(getattr(node, field, "")).lower() for field in ("id", "arg", "name")}
            if word in names:
                using.add(module.split(".")[0])
    assert using == rooms


def test_the_glossary_defines_each_word_once():
    text = (Path(__file__).parents[2] / "docs/glossary.md").read_text()
    lines = re.findall(r"^\*\*.*?:", text, flags=re.M)
    words = [word.lower() for line in lines for word in re.findall(r"\*\*(.+?)\*\*", line)]
    assert len(words) == len(set(words)) and {
        "reference",
        "reference profile",
        "control",
        "reliability",
    } <= set(words)
