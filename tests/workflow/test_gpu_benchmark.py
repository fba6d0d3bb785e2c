"""The GPU benchmark, rehearsed on the CPU: collected from the demo, run in small, every step and its table."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(out, data, *options):
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OUT": str(out), "DATA": str(data)}
    environment |= {"PYTHON": sys.executable, "WHEELS": str(out / "no wheels")}
    command = [BENCHMARKS / "gpu.sh", *options]
    return subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture(scope="module")
def driver():
    spec = importlib.util.spec_from_file_location("gpu", BENCHMARKS / "gpu.py")
    module = sys.modules["gpu"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.workflow
@pytest.mark.demo
@pytest.mark.xdist_group("demo")
def test_every_step_of_the_rehearsal(demo, driver, tmp_path):
    data = tmp_path / "data.tar.xz"
    collect = [
        BENCHMARKS / "gpu_prepare.py",
        "--run",
        demo.folder / "results",
        "--seeds",
        "0",
        "--output",
        data,
    ]
    subprocess.run(
        [sys.executable, *map(str, collect)], check=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    )
    assert data.stat().st_size < 40e6
    reply = run(tmp_path / "out", data, "--small", "--minutes", "20")
    assert reply.returncode == 0, reply.stdout[-3000:] + (tmp_path / "out/log.txt").read_text()[-3000:]
    rows = driver.read_rows(tmp_path / "out")
    assert not [row for row in rows if row["what"] == "the step" or row["held"] is False]
    for step in driver.STEPS:
        sides = {row["side"] for row in rows if row["step"] == step.name}
        assert sides == ({driver.GPU, driver.CPU} if step.beside else {driver.GPU})
    said = (tmp_path / "out/table.md").read_text()
    assert "a rehearsal on the CPU" in said
    for asked in ("float32, largest difference", "resumes", "halved", "GPU: refused", "10", "evaluation of"):
        assert asked in said


def test_without_data_one_line_says_what_makes_it(tmp_path):
    reply = run(tmp_path / "out", tmp_path / "absent.tar.xz")
    assert reply.returncode == 1
    assert reply.stdout.count("\n") == 1 and "gpu_prepare.py" in reply.stdout


def test_results_without_settings_are_refused_in_one_line(tmp_path):
    command = [
        sys.executable,
        BENCHMARKS / "gpu_prepare.py",
        "--run",
        tmp_path,
        "--output",
        tmp_path / "data.tar.xz",
    ]
    reply = subprocess.run(command, capture_output=True, text=True)
    assert reply.returncode == 1 and "Traceback" not in reply.stderr
    assert "provenance/config.yaml" in reply.stderr and "make it there with" in reply.stderr
    assert not (tmp_path / "data.tar.xz").exists()


def test_a_slow_step_costs_itself_and_says_so(driver, tmp_path, capsys):
    step = driver.Step("machine", 1)
    driver.run_step(step, driver.GPU, SimpleNamespace(small=True), tmp_path, tmp_path, seconds=0.2)
    (row,) = driver.read_rows(tmp_path)
    assert row["what"] == "the step" and row["value"].startswith("stopped after") and row["held"] is False


def test_table_puts_both_sides_and_their_ratio_in_one_row(driver, tmp_path):
    row = {
        "step": "training_speed",
        "what": "scbind, batch 64",
        "unit": "windows/s",
        "asked": "",
        "held": None,
    }
    rows = [row | {"side": driver.GPU, "value": 300.0}, row | {"side": driver.CPU, "value": 10.0}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    driver.write_table(tmp_path, "title")
    said = (tmp_path / "table.md").read_text()
    assert "| scbind, batch 64 | 300 windows/s | 10 windows/s | 30 |" in said
    assert "30 times two CPU cores" in said
