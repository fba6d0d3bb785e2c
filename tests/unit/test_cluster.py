import os
from functools import partial
from pathlib import Path

import pytest
from scbind.core.errors import InputError
from scbind.plan.cluster import Needs, check_slurm, find_partition, unseen_reasons
from snakemake_executor_plugin_slurm.partitions import get_best_partition, read_partition_file

TABLE = Path(__file__).parents[2] / "profiles/slurm/partitions.yaml"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Commands of a made-up SLURM without accounts: partitions of 4 and 8 CPUs, and of 16 CPUs and GPUs."""
    commands = {
        # without -e, sinfo tells the smallest node of a partition: 4+
        "sinfo": """case " $* " in *" -e "*) ;; *) echo 'cpu|4+|(null)'; exit;; esac
echo 'cpu|4|(null)'; echo 'cpu|8|(null)'; echo 'gpu|16|gpu:a100:2(S:0-1),shard:9'
echo 'mixed|2|gpu:v100:1,gpu:a100:3'""",
        "sacct": "echo 'Slurm accounting storage is disabled' >&2; exit 1",
    }
    for name, text in commands.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_a_job_that_fits_on_no_node_is_named(slurm):
    message = (
        "train_model asks for 16 threads, but the largest node of partition cpu has 8, .*; add max-threads: 8"
    )
    with pytest.raises(InputError, match=message):
        check_slurm({"other": Needs(2), "train_model": Needs(16, partition="cpu")}, "squeue")
    check_slurm({"train_model": Needs(8, partition="cpu")}, "squeue")
    check_slurm({"train_model": Needs(16, partition="cpu,gpu")}, "squeue")
    check_slurm({"train_model": Needs(16)}, "squeue")
    with pytest.raises(InputError, match="17 threads, but the largest node has 16, "):
        check_slurm({"train_model": Needs(17)}, "squeue")


def test_threads_and_gpus_must_be_on_one_node(slurm):
    sinfo(slurm, "cpu*|64|(null)", "gpu|16|gpu:a100:2", "gpu|8|gpu:4")
    message = (
        r"asks for 32 threads and 1 GPU, but no node of partition gpu,cpu has both, .*; add max-threads: 16"
    )
    with pytest.raises(InputError, match=message):
        check_slurm({"a": Needs(32, 1, "gpu,cpu")}, "squeue")
    with pytest.raises(InputError, match=r"16 threads and 4 GPUs, .* has both, .*; add max-threads: 8"):
        check_slurm({"a": Needs(16, 4, "gpu,cpu")}, "squeue")
    check_slurm({"a": Needs(16, 2, "gpu,cpu"), "b": Needs(64, 0, "gpu,cpu")}, "squeue")


def test_memory_that_no_node_has_is_named(slurm):
    sinfo(slurm, "cpu*|8|(null)|16000", "cpu*|64|(null)|8000", "gpu|8|gpu:2|64000")
    message = (
        "rule a asks for 17000 MB, but the largest node of partition cpu has 16000, .*: a: mem_mb: 16000, "
    )
    with pytest.raises(InputError, match=message):
        check_slurm({"a": Needs(2, 0, "cpu", 17000)}, "squeue")
    message = "of the default partition cpu with as many threads and GPUs has 8000, "
    with pytest.raises(InputError, match=message):
        check_slurm({"a": Needs(16, memory=9000)}, "squeue")
    check_slurm({"a": Needs(8, 0, "cpu", 16000), "b": Needs(8, 1, "gpu", 64000), "c": Needs(9)}, "squeue")


def test_a_job_without_a_partition_goes_to_the_default_one(slurm):
    sinfo(slurm, "cpu*|8|(null)", "gpu|16|gpu:a100:2")
    with pytest.raises(
        InputError, match="9 threads, but the largest node of the default partition cpu has 8"
    ):
        check_slurm({"a": Needs(9)}, "squeue")
    with pytest.raises(InputError, match="1 GPU, but the nodes of the default partition cpu have none"):
        check_slurm({"a": Needs(1, 1)}, "squeue")
    check_slurm({"a": Needs(8), "b": Needs(16, 2, "gpu")}, "squeue")


def test_lines_that_are_no_node_and_gpus_as_text_do_no_harm(slurm):
    sinfo(slurm, "error: a|b|c", "cpu*|n/a|(null)", "cpu*|8|(null)", "|||", "gpu|16+|gpu:2")
    check_slurm({"a": Needs(8), "b": Needs(16, "2", "gpu")}, "squeue")
    with pytest.raises(InputError, match="rule a asks for 3 GPUs, but the nodes of partition gpu have 2"):
        check_slurm({"a": Needs(1, "3", "gpu")}, "squeue")
    with pytest.raises(
        InputError, match="rule a asks for gpu: a100:1, which is not a whole number; .* gpu_model"
    ):
        check_slurm({"a": Needs(1, "a100:1", "gpu")}, "squeue")
    sinfo(slurm, "nothing|is|known")
    check_slurm({"a": Needs(1000, 9, "gpu")}, "squeue")


def sinfo(folder, *lines):
    """Let the made-up SLURM have other nodes."""
    (folder / "sinfo").write_text("#!/bin/sh\ncat <<END\n" + "\n".join(lines) + "\nEND\n")


def test_a_partition_that_does_not_exist_is_named(slurm):
    message = "rule a asks for the partition fast, but SLURM has only cpu, gpu, mixed; write one of these"
    with pytest.raises(InputError, match=message):
        check_slurm({"a": Needs(1, partition="fast")}, "squeue")


def test_a_rule_that_asks_for_more_gpus_than_a_node_has_is_named(slurm):
    message = "rule a asks for 1 GPU, but the nodes of partition cpu have none, .* or add resources: gpu: 0 to use CPUs"
    with pytest.raises(InputError, match=message):
        check_slurm({"a": Needs(1, 1, "cpu")}, "squeue")
    with pytest.raises(InputError, match="rule a asks for 3 GPUs, but the nodes of partition gpu have 2, "):
        check_slurm({"a": Needs(1, 3, "gpu")}, "squeue")
    check_slurm({"a": Needs(1, 2, "gpu"), "b": Needs(1, 0, "cpu"), "c": Needs(2, 4, "mixed")}, "squeue")


@pytest.mark.parametrize(("gpus", "partition"), [(None, "cpu"), (0, "cpu"), (1, "gpu"), (8, "gpu")])
def test_a_job_goes_to_the_partition_that_has_what_it_asks_for(gpus, partition):
    assert found_for({} if gpus is None else {"gpu": gpus}) == partition


def test_a_job_that_no_partition_can_run_is_named():
    message = r"partitions.yaml: no partition has what rule a asks for \(2 threads, 9 GPUs, mem_mb 4000\); .* gpu: 0"
    with pytest.raises(InputError, match=message):
        found_for({"mem_mb": 4000, "gpu": 9})


def found_for(resources):
    choose = partial(get_best_partition, read_partition_file(TABLE))
    return find_partition("a", 2, resources, TABLE, choose)


def test_without_accounts_the_end_of_jobs_would_not_be_noticed(slurm):
    message = r"keeps no accounts here \(Slurm accounting storage is disabled\), .*; add slurm-status-command: squeue"
    for command in ("sacct", None):
        with pytest.raises(InputError, match=message):
            check_slurm({}, command)
    (slurm / "sacct").write_text("#!/bin/sh\n")
    check_slurm({}, "sacct")


def test_without_slurm_nothing_is_checked(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    check_slurm({"train_model": Needs(1000, 1, "gpu")}, None)


def test_the_log_of_slurm_is_shown_where_that_of_the_job_is_empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logs = tmp_path / "slurm/rule_a"
    logs.mkdir(parents=True)
    text = "Building\nrule a:\n    log: {}.log (check log file(s) for details)\n    resources: mem_mb=1\nbroken\n"
    for number, name in enumerate(("missing", "empty", "full", "old")):
        (logs / f"{number}.log").write_text(text.format(name))
    (tmp_path / "empty.log").touch()
    (tmp_path / "full.log").write_text("ERROR told already\n")
    os.utime(logs / "3.log", (1000, 1000))
    (logs / "4.log").write_text("sh: python: not found\n")
    shown = unseen_reasons("slurm", 2000)
    assert shown[:4] == [
        "Log of SLURM slurm/rule_a/0.log:",
        "  broken",
        "Log of SLURM slurm/rule_a/1.log:",
        "  broken",
    ]
    assert shown[4:] == ["Log of SLURM slurm/rule_a/4.log:", "  sh: python: not found"]
    assert unseen_reasons("nothing", 0) == []
