"""Another workflow that uses this one as a module."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.workflow

ROOT = Path(__file__).parents[2]
OUTER = f"""
configfile: "config/config.yaml"


rule own:
    output:
        "own.txt",
    shell:
        "echo > {{output}}"


module scbind:
    snakefile:
        "{ROOT}/workflow/Snakefile"
    config:
        config
"""
USE = "\n\nuse rule * from scbind"


@pytest.fixture
def outer(project):
    """Write the outer Snakefile into the working folder; Snakemake then runs it instead of ours."""

    def write(*parts):
        (project.folder / "Snakefile").write_text("".join((OUTER, *parts)))
        return project

    return write


def planned(project, *arguments):
    return project.jobs("-s", project.folder / "Snakefile", *arguments)


def test_a_module_plans_the_same_jobs(project, outer):
    alone = project.jobs()
    outer(USE)
    assert planned(project, "all") == alone
    outer(USE, " as scbind_*")
    assert planned(project, "scbind_all") == {f"scbind_{rule}": number for rule, number in alone.items()}


def test_the_outer_workflow_keeps_its_default_target(outer):
    assert planned(outer(USE)) == {"own": 1}


def test_a_module_alone_has_its_default_target(project, outer):
    outer(USE, " as scbind_*")
    path = project.folder / "Snakefile"
    first, _, rest = path.read_text().partition("rule own:")
    path.write_text(f"{first}module scbind:{rest.partition('module scbind:')[2]}")
    assert planned(project)["scbind_all"] == 1


def test_a_module_has_the_config_that_it_is_given(project, outer):
    path = project.edited("infer.store", "activity")
    outer(USE)
    assert "merge_shards" not in planned(project, "--configfile", path, "--", "all")


def test_jobs_of_a_module_run_below_its_prefix(project, outer):
    changed = '\n\nuse rule call_peaks from scbind with:\n    conda:\n        "own.yaml"\n'
    outer("    prefix:\n        'atlas'\n", USE, changed)
    (project.folder / "own.yaml").write_text("dependencies: [macs3]\n")
    tables = [f"atlas/results/provenance/{name}.tsv" for name in ("environments", "versions/train")]
    small = project.edited(
        "demo", {"n_cells": 25, "chromosome_mb": [0.1, 0.1, 0.1, 0.1], "cell_fragments": 300}
    )
    project.snakemake("-s", project.folder / "Snakefile", "--configfile", small, "--", *tables)
    rows = (project.folder / tables[0]).read_text().splitlines()
    environments = dict(row.split("\t") for row in rows)
    assert environments["train_model"] == "train" and environments["bulk_peaks"] == "peaks"
    assert environments["call_peaks"] == "own"
    assert (project.folder / "atlas/logs/record_versions/train.log").is_file()
    assert (project.folder / "atlas/resources/demo/genome.fa").is_file()
    assert not (project.folder / "results").exists() and not (project.folder / "resources").exists()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this copy is not a git repository")
def test_a_module_from_git_is_refused_in_one_line(project, outer):
    outer(USE)
    text = (project.folder / "Snakefile").read_text()
    address = f'gitfile("{ROOT}", path="workflow/Snakefile", commit="HEAD")'
    (project.folder / "Snakefile").write_text(text.replace(f'"{ROOT}/workflow/Snakefile"', address))
    reply = project.snakemake("--dry-run", "-s", project.folder / "Snakefile", check=False)
    assert reply.returncode and "scbind cannot be included from a git repository" in reply.stdout
