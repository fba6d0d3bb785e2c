"""What holds for every rule, environment and description, read from the files."""

import ast
import dataclasses
import importlib
import inspect
import os
import re
import sys
from pathlib import Path

import pytest
import yaml
from scbind.plan import configpage, digests, settings, sheetrows
from snakemake.iocontainers import InputFiles

ROOT = Path(__file__).parent.parent.parent
RULE_FILES = sorted((ROOT / "workflow/rules").glob("*.smk"))
CONDA_NAMES = {"pytorch": "torch", "python-igraph": "igraph", "matplotlib-base": "matplotlib"}
CONDA_NAMES |= {"snakemake-minimal": "snakemake"}
CONDA_ONLY = {"python", "bedtools", "pip"}


def rules():
    """(name, text) of every rule that runs something."""
    for path in RULE_FILES:
        for block in re.split(r"^(?=rule |checkpoint )", path.read_text(), flags=re.M)[1:]:
            if "script:" in block:
                yield block.split(":")[0].split()[1], block


def normal(name):
    return name.lower().replace("_", "-")


def pins(path):
    rows = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return {normal(row.split("==")[0]): row.split("==")[1] for row in rows if row}


RULES = dict(rules())
CONFIGS = sorted((ROOT / "config").rglob("config.yaml"))
ENVIRONMENTS = ast.literal_eval(
    re.search(r"^ENVIRONMENTS = (.*)$", (ROOT / "workflow/rules/provenance.smk").read_text(), re.M)[1]
)
# A path that the user, or a rule, gives: a whole row of a sheet, a column or key that names a file, a result.
PATHS = re.compile(
    r"""results/|resources/|=PLAN\.(?:chip|tracks|samples|sheets)|PLAN\.tracks\[[^]]*\],"""
    r"""|(?<!bool\(row)\["(?:path|relaxed|labels|barcodes|rna|fasta|exclude|chrom_sizes|mappability|genes|(?:cohort_)?truth)"\]"""
)


def test_every_script_has_its_rule():
    assert set(RULES) == {path.stem for path in (ROOT / "workflow/scripts").glob("*.py")}


def reached(modules):
    """Modules of the package and all that they import, directly or not: what a digest of them covers."""
    waiting, seen = [f"scbind.{module}" for module in modules], set()
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += digests.imported_modules(module)
    return {module.removeprefix("scbind.") for module in seen}


@pytest.mark.parametrize("name", RULES)
def test_rule(name):
    block = RULES[name]
    assert f"logs/{name}/" in block, "the log is in a folder of the rule's name"
    script = re.search(r'script:\s+"\.\./scripts/(\w+)\.py"', block)[1]
    assert script == name
    log = re.search(r'log:\s+"(.*)\.log"', block)[1]
    benchmark = re.search(r'benchmark:\s+"(.*)\.benchmark\.tsv"', block)
    assert "benchmark:" not in block or benchmark[1] == log, "the benchmark is beside the log"
    environment = re.search(r'conda:\s+"\.\./\.\./envs/(.+)\.yaml"', block)[1]
    if name == "record_versions":  # one job in each environment
        assert environment == "{environment}"
    else:
        assert environment in ENVIRONMENTS and (ROOT / f"envs/{environment}.yaml").is_file()
    assert "mem_mb=memory(" in block, "memory doubles on a retry"
    assert "runtime=runtime(" in block, "a job that did not end in time gets more of it on a retry"
    text = (ROOT / f"workflow/scripts/{name}.py").read_text()
    assert "snakemake.config" not in text, "a value read there would not be tracked"
    assert text.startswith(
        "from scbind.core.runlog import logged\n\nwith logged(snakemake.log[0], snakemake.threads):\n"
    )
    if name == "fetch_source":  # its result is fixed by the checksum
        return
    params = block.partition("    params:\n")[2].partition("    script:")[0]
    assert not PATHS.search(params), "storage and modules rewrite paths in input: and output: only"
    declared = set(re.findall(r"^        (\w+)=", params, re.M))
    unused = {
        p for p in declared - {"code", "files", "table", "template"} if f"snakemake.params.{p}" not in text
    }
    assert not unused, "a declared value that the script does not pass on"
    code = re.search(rf'code=source_digest\((.*), script="{name}"\),$', block, re.M)
    assert code, "of the modules, and of the script"
    imported = set(re.findall(r"from scbind\.([\w.]+) import", text))
    imported -= {"core.runlog", "formats.genome", "core.devices"}
    assert imported <= reached(re.findall(r'"([\w.]+)"', code[1])) or name == "record_provenance"


class Local(str):
    is_storage = False


def test_memory_and_time_double_on_a_retry_but_no_retry_asks_for_more_than_a_day(tmp_path):
    """Many partitions have a limit of a day. Where the inputs are large, even the first attempt may ask for more."""
    text = (ROOT / "workflow/rules/resources.smk").read_text()
    helpers = {"os": os, "InputFiles": InputFiles}
    exec(text[text.index("DAY = ") :], helpers)
    memory, runtime = helpers["memory"], helpers["runtime"]

    def asked(function):
        return [function({}, input=files, attempt=n) if sized else function({}, attempt=n) for n in (1, 2, 3)]

    sized = False
    assert asked(memory(4000)) == [4000, 8000, 16000] and asked(runtime(60)) == [60, 120, 240]
    assert asked(runtime(720)) == [720, 1440, 1440] and asked(runtime(2000)) == [2000, 2000, 2000]
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(bytes(1 << 20))
    files = InputFiles(toclone=[Local(tmp_path / name) for name in ("a", "b", "c")])
    files._set_name("one", 0)
    files._set_name("two", 1, end=3)
    sized = True
    assert asked(memory(10, 1)) == [13, 26, 52]
    assert asked(memory(10, 1, one=5, two=100)) == [218, 436, 872]
    assert asked(runtime(30, two=10)) == [50, 100, 200] and asked(runtime(30, two=1000)) == [2030] * 3


GPU_RULES = (
    "train_model evaluate_model evaluate_left_out sequence_readout reference_profile infer_binding"
).split()


def test_rules_that_use_a_gpu_ask_for_it():
    assert {name for name, block in RULES.items() if "gpu=GPU" in block} == set(GPU_RULES)
    for name in GPU_RULES:
        assert "snakemake.resources.gpu" in (ROOT / f"workflow/scripts/{name}.py").read_text()


def test_rules_that_read_a_file_of_the_user_notice_that_it_is_another_one():
    """A file with an older time, as mv and rsync leave it, is not newer than the output."""
    of_user = r'SETTINGS\["\w+"\]\["(?:fasta|exclude|chrom_sizes|mappability|genes|path|(?:cohort_)?truth)"\]'
    of_user += r"|sample_fragments\(|(?:PLAN\.(?:chip\b|tracks\[|inputs\())|GIVEN\[wildcards"
    of_user += r'|sample_row\([\w.]+\)\["(?:path|barcodes|labels|rna)"|PLAN\.samples\[[\w.]+\]\["labels"'
    of_user += "|EXTENDED|extended_bundle"
    reading = {
        name
        for name, block in RULES.items()
        if any(re.search(of_user, part) for part in re.findall(r"    input:\n(.*?)    output:", block, re.S))
    }
    assert reading == {name for name, block in RULES.items() if re.search(r"^        files=", block, re.M)}
    assert len(reading) == 32


READERS = "build_dataset choose_windows train_model calibrate_model evaluate_model evaluate_depth"


@pytest.mark.parametrize(
    "name", [*READERS.split(), "sequence_readout", "score_cells", "variant_effects", "explain_loci"]
)
def test_rules_that_may_read_mappability_wait_for_it(name):
    assert "        mappability=MAPPABILITY,\n" in RULES[name].partition("    output:\n")[0]


def test_a_training_knows_its_code():
    """A state that other code left is not resumed."""
    assert "code=snakemake.params.code," in (ROOT / "workflow/scripts/train_model.py").read_text()


def test_requirements_are_in_the_lock():
    lock = pins(ROOT / "envs/requirements.lock")
    wanted = pins(ROOT / "envs/requirements.txt")
    assert wanted.items() <= lock.items()
    assert not [version for version in lock.values() if "+" in version], "local builds are not on an index"
    for line in (ROOT / "envs/requirements.txt").read_text().splitlines():
        assert line.startswith("#") or "  # " in line, f"no reason given: {line}"


INSTALLED = {
    "Bio": "biopython",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}  # import name -> name on the index, where they differ
# Commands, plug-ins, and what another package calls.
NOT_IMPORTED = {
    "snakemake-logger-plugin-rich",
    "macs3",
    "igraph",
    "snakefmt",
    "ruff",
    "pytest-xdist",
}


def imported(path, only_at_the_top=False):
    """Distributions that a Python file imports, apart from Python's own and ours."""
    tree, names = ast.parse(path.read_text()), set()
    for node in tree.body if only_at_the_top else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    tops = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"scbind"}
    return {normal(INSTALLED.get(name, name)) for name in tops}


def test_what_is_imported_is_required_and_nothing_else():
    wanted = set(pins(ROOT / "envs/requirements.txt"))
    package = set().union(*(imported(path) for path in (ROOT / "workflow/scbind").rglob("*.py")))
    assert package <= wanted
    tests = set().union(*(imported(path) for path in (ROOT / "tests").rglob("*.py")))
    assert wanted - package - tests == NOT_IMPORTED


UNUSED = {"prepare_motifs": {"torch"}}  # of a function that the rule does not call


@pytest.mark.parametrize("name", RULES)
def test_the_conda_environment_of_a_rule_has_what_its_modules_import(name):
    environment = re.search(r'conda:\s+"\.\./\.\./(envs/[\w{}]+\.yaml)"', RULES[name])[1]
    environment = environment.format(environment="peaks")  # a rule that runs in each: the smallest
    given = yaml.safe_load((ROOT / environment).read_text())["dependencies"]
    rows = [row for part in given for row in (part["pip"] if isinstance(part, dict) else [part])]
    has = {normal(CONDA_NAMES.get(n, n)) for n in (re.split(r"[ =]", row)[0] for row in rows)}
    text = (ROOT / f"workflow/scripts/{name}.py").read_text()
    for module in reached(re.findall(r"from scbind\.([\w.]+) import", text)):
        path = ROOT / f"workflow/scbind/{module.replace('.', '/')}.py"
        if path.is_file():
            assert imported(path, only_at_the_top=True) <= has | UNUSED.get(name, set()), (
                f"{module}, in {environment}"
            )


@pytest.mark.parametrize("path", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda path: path.stem)
def test_conda_pins_are_those_of_the_lock(path):
    lock = pins(ROOT / "envs/requirements.lock")
    given = yaml.safe_load(path.read_text())["dependencies"]
    pip = [row for part in given if isinstance(part, dict) for row in part["pip"]]
    for row in [*(row for row in given if isinstance(row, str)), *pip]:
        name, _, version = row.replace("==", " =").partition(" =")
        if name in CONDA_ONLY:
            continue
        assert lock[normal(CONDA_NAMES.get(name, name))] == version, row


def test_the_configuration_page_is_the_generated_one():
    page = (ROOT / "docs/reference/configuration.md").read_bytes()
    assert page == f"{configpage.describe()}\n".encode(), "run make docs-reference"


def test_every_column_is_described():
    described = settings.load_schema(configpage.SHEETS)
    columns = {sheet: (*required, *optional) for sheet, (required, optional) in sheetrows.COLUMNS.items()}
    assert {sheet: set(part["columns"]) for sheet, part in described.items()} == {
        sheet: set(names) for sheet, names in columns.items()
    }


def test_the_demo_names_every_top_level_key():
    config = yaml.safe_load((ROOT / "config/demo/config.yaml").read_text())
    assert list(config) == list(settings.load_schema()["properties"])
    settings.check_config(config)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_editors_find_the_schema(path):
    """The YAML language server takes the path as relative to the file, and a schema that is written in YAML."""
    first = path.read_text().splitlines()[0]
    schema = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)[1]
    assert (path.parent / schema).resolve() == settings.SCHEMA.resolve()
    settings.check_config(yaml.safe_load(path.read_text()))


def test_the_snakefile_imports_only_light_modules():
    names = set()
    for path in [*RULE_FILES, ROOT / "workflow/Snakefile", ROOT / "Snakefile"]:
        for line in re.findall(r"^from scbind.*", path.read_text(), re.M):
            base, _, imported = line.removeprefix("from ").partition(" import ")
            room = base.removeprefix("scbind.")
            names |= {room} if "." in room else {f"{room}.{name.strip()}" for name in imported.split(",")}
    assert names == {
        "plan.checks",
        "plan.chromosomes",
        "plan.closing",
        "plan.leftovers",
        "plan.cluster",
        "plan.paths",
        "plan.pending",
        "plan.receipts",
        "plan.runlock",
        "plan.runrecord",
        "dataset.splitrules",
        "formats.symbols",
        "plan.settings",
        "plan.waiting",
        "plan.yamlfile",
        "plan.sheets",
        "plan.digests",
        "plan.filestate",
        "core.children",
        "core.errors",
        "core.files",
        "core.gpulocks",
        "core.scratch",
        "evaluation.registry",
        "formats.typestatus",
        "demo.atlas",
        "demo.cohort",
    }


def test_the_package_never_imports_snakemake():
    for path in (ROOT / "workflow/scbind").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) snakemake", path.read_text(), re.M), path


def test_setup_demands_the_python_that_the_package_does():
    demanded = re.search(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text())[1]
    setup = (ROOT / "envs/setup.sh").read_text()
    assert f"sys.exit(sys.version_info < (3, {demanded}))" in setup
    assert (
        f"Python 3.{demanded} or newer" in setup
        and f"Python 3.{demanded} or newer" in (ROOT / "README.md").read_text()
    )
    for name in ("core", "dev", "peaks", "train"):
        assert f"python =3.{demanded}" in (ROOT / f"envs/{name}.yaml").read_text()


@pytest.mark.parametrize(
    ("section", "left_out", "file", "function"),
    [
        ("models", "NOT_OF_TRAINING", "train.smk", "models.training.TrainOptions"),
        ("cells", "NOT_OF_EMBEDDING", "embedding.smk", "cells.embedding.EmbedOptions"),
    ],
)
def test_settings_that_are_passed_on_are_taken(section, left_out, file, function):
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())["properties"][section]
    keys = set(schema.get("properties") or schema["additionalProperties"]["properties"])
    named = re.search(
        rf"^{left_out} = (\(.*?\))$", (ROOT / "workflow/rules" / file).read_text(), flags=re.M | re.S
    )
    module, _, name = function.rpartition(".")
    taken = inspect.signature(getattr(importlib.import_module(f"scbind.{module}"), name)).parameters
    assert keys - set(ast.literal_eval(named[1])) == set(taken)


# Not settings but what a run has or has not: labels, donors, samples to correct for, further networks, provenance.
MAY_BE_ABSENT = {
    "labels",
    "metadata",
    "batches",
    "given",
    "networks",
    "provenance",
    "models",
    "curves",
    "training",
    "peaks",
}
MAY_BE_ABSENT |= {"sha256", "md5", "size", "place", "asked", "cells_output", "bulk_fragments", "aliases"}
MAY_BE_ABSENT |= {
    "profiles",
    "assay",
    "looser",
    "smallest_type",
    "start",
}  # of the report; of the card: from which motifs the training started
MAY_BE_ABSENT |= {"given", "bundle", "applied_to"}  # models that were trained elsewhere
MAY_BE_ABSENT |= {"case_matters"}  # follows from motifs.taxon
MAY_BE_ABSENT |= {"reference"}  # the genome, with which genes are compared
MAY_BE_ABSENT |= {
    "tracks",
    "target",
    "best",
}  # bulk lines and borrowing in the report; the table of best sites
# Sections of the schema with the defaults of functions that have some.
SECTIONS = {
    "bam_to_fragments": "cells",
    "build_dataset": "dataset",
    "cell_regulation": "analysis.links",
    "cell_type_tracks": "infer",
    "chromvar_deviations": "evaluate",
    "compare_activity": "evaluate",
    "differential_sites": "analysis.sites",
    "differential_tfs": "analysis",
    "evaluate_baselines": "evaluate",
    "evaluate_depth": "evaluate",
    "fetch": "downloads",
    "find_populations": "analysis.populations",
    "find_motifs": "motifs",
    "motif_enrichment": "analysis.motifs",
    "peak_binding": "analysis.peak_binding",
    "prepare_motifs": "motifs",
    "score_types": "evaluate",
    "simulate": "demo",
    "site_genes": "analysis.targets",
    "simulate_cohort": "demo",
    "tf_expression": "analysis",
    "tf_links": "analysis.links",
    "tf_targets": "analysis.targets",
}
ELSEWHERE = {"taxon": "motifs"}  # keys that functions of several sections take


def schema_default(section, key):
    """Default of a key of a (dotted) section or of the section that holds it, lists as tuples."""
    leaves = dict(settings.list_keys())
    names = section.split(".")
    places = [".".join([*names[:depth], key]) for depth in range(len(names), 0, -1)]
    (default, *_) = [leaves[place]["default"] for place in places if place in leaves]
    return tuple(default) if isinstance(default, list) else default


@pytest.mark.parametrize("name", RULES)
def test_no_default_of_the_package_disagrees_with_the_schema(name):
    """Options that a rule passes as a whole have no defaults; those of other functions are the schema's."""
    tree = ast.parse((ROOT / f"workflow/scripts/{name}.py").read_text())
    known = {
        alias.name: getattr(importlib.import_module(node.module), alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("scbind.")
        for alias in node.names
    }
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in known):
            continue
        parameters = inspect.signature(known[call.func.id]).parameters
        given = [*zip(parameters, call.args, strict=False), *((k.arg, k.value) for k in call.keywords)]
        for parameter, value in given:
            if "snakemake.params" not in ast.unparse(value):
                continue
            of_rule = list(parameters) if parameter is None else [parameter]
            found = {key: parameters[key].default for key in of_rule}
            found = {key: default for key, default in found.items() if default is not inspect.Parameter.empty}
            if dataclasses.is_dataclass(known[call.func.id]) and parameter is None:
                assert not found, call.func.id
            for key in found.keys() - MAY_BE_ABSENT:
                section = ELSEWHERE.get(key) or SECTIONS[call.func.id]
                assert found[key] == schema_default(section, key), f"{call.func.id}: {key}"
