"""The GPU benchmark, rehearsed on the CPU: collected from the demo, run in small, every step and its table."""

import json
import os
import subprocess
import sys
import tarfile
from types import SimpleNamespace

import pytest
from benchmark import BENCHMARKS, load_benchmark


def run(out, data, *options):
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OUT": str(out), "DATA": str(data)}
    environment |= {"PYTHON": sys.executable, "WHEELS": str(out / "no wheels")}
    command = [BENCHMARKS / "gpu.sh", *options]
    return subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture(scope="module")
def driver():
    return load_benchmark("gpu")


@pytest.mark.workflow
@pytest.mark.demo
@pytest.mark.designs
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


def test_twenty_times_are_judged_on_a_gpu_alone(driver):
    row = {"step": "training_speed", "what": "scbind, batch 64", "unit": "windows/s"}
    rows = [row | {"side": driver.GPU, "value": 30.0}, row | {"side": driver.CPU, "value": 10.0}]
    said, held = driver.best_ratios(rows, "scbind on a card")
    assert "**no**" in said[0] and not held
    assert driver.best_ratios(rows, "scbind on no GPU: a rehearsal on the CPU")[1]


def test_a_further_call_keeps_the_rows_of_other_steps_on_the_same_card_alone(driver, tmp_path):
    for step in ("machine", "large"):
        driver.write_row(tmp_path, step, driver.GPU, "the step", "done")
    (tmp_path / "table.md").write_text("# scbind on a card, 2026-11-28\n")
    driver.open_output(tmp_path, "scbind on a card", ["large"]).close()
    assert [row["step"] for row in driver.read_rows(tmp_path)] == ["machine"]
    with pytest.raises(SystemExit, match="another card or size"):
        driver.open_output(tmp_path, "scbind on a card, small", ["machine"])
    assert len(driver.read_rows(tmp_path)) == 1


def test_two_runs_do_not_write_to_one_folder(driver, tmp_path):
    with driver.open_output(tmp_path, "title", []), pytest.raises(SystemExit, match="another run writes"):
        driver.open_output(tmp_path, "title", [])


def test_an_archive_that_is_cut_off_is_refused_in_one_line(driver, tmp_path):
    (tmp_path / "run0").mkdir()
    (tmp_path / "run0" / "noise").write_bytes(os.urandom(100_000))
    whole, part = tmp_path / "whole.tar.xz", tmp_path / "part.tar.xz"
    with tarfile.open(whole, "w:xz") as archive:
        archive.add(tmp_path / "run0", "run0")
    driver.unpack(whole, tmp_path / "there")
    part.write_bytes(whole.read_bytes()[:50_000])
    with pytest.raises(SystemExit, match="cannot be unpacked.*gpu_prepare.py"):
        driver.unpack(part, tmp_path / "nowhere")
