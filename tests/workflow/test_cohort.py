"""The simulated cohort: its plan, and the job that compares its results with the truth."""

import os

import pandas as pd
import pytest
from smallcohort import make_cohort

pytestmark = pytest.mark.workflow
SETTINGS = ("--configfile", "config/config.yaml", "config/cohort.yaml")
TABLES = [f"results/evaluation/cohort_{name}.tsv" for name in ("links", "populations")]


def configured(project):
    """The settings of the demo and the cohort, as paths from the checkout."""
    return "--configfile", *(project.folder / path for path in SETTINGS[1:])


def test_plan_of_the_cohort(project):
    jobs = project.jobs(*configured(project))
    assert {
        "simulate_cohort": 1,
        "score_cohort": 1,
        "cell_regulation": 6,
        "write_report": 1,
    }.items() <= jobs.items()
    assert not {"score_cells", "score_types", "evaluate_oracle"} & jobs.keys()
    assert project.jobs(*configured(project), "--", "evaluate")["score_cohort"] == 1


def test_results_are_compared_with_the_truth(project):
    """The samples of the made-up cohort are the first four; the script gets the inputs that the rule names."""
    make_cohort(project.folder)
    sheet = project.folder / "config/cohort_samples.tsv"
    sheet.write_text("".join(sheet.read_text().splitlines(keepends=True)[:5]))
    for number, path in enumerate(sorted(project.folder.glob("res*/**/*"))):
        os.utime(path, (1_000_000 + number, 1_000_000 + number))
    options = ("--rerun-triggers", "mtime", "--allowed-rules", "score_cohort", "--", *TABLES)
    project.snakemake(*configured(project), *options)
    links, populations = (pd.read_csv(project.folder / name, sep="\t") for name in TABLES)
    assert links["name"].tolist() == ["c0", "D1", "D2", "D3", "D4"]
    assert populations.set_index("state").loc["stem", "f1"] == pytest.approx(0.875)
