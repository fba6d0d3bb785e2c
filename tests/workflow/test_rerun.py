"""What runs again after a change, and what does not."""

import os
import re

import pytest
from scbind.core.gpulocks import may_have_gpu

pytestmark = pytest.mark.workflow

TARGET = "results/motifs/motifs.npz"
MATRIX = ">MA0001.1 {tf}\nA [ 9 1 1 1 9 ]\nC [ 1 9 1 1 1 ]\nG [ 1 1 9 1 1 ]\nT [ 1 1 1 9 1 ]\n"


def write_matrices(path, scale):
    names = ("CTCF", "SPI1", "TCF7", "GATA1")
    path.write_text("".join(MATRIX.format(tf=name) for name in names).replace("9", str(scale)))


@pytest.fixture
def made(project):
    """Plan :data:`TARGET`, which was made from matrices of the user, by a copy of the workflow."""
    project.copy_workflow()
    path = project.folder / "matrices.txt"
    write_matrices(path, 9)
    options = ("--configfile", project.edited("motifs.path", "matrices.txt"), "--", TARGET)
    project.snakemake(*options)
    assert project.jobs(*options) == {}
    return lambda *more: project.jobs(*more, *options)


def test_a_file_that_was_replaced_by_an_older_one_is_read(project, made):
    path = project.folder / "matrices.txt"
    when = path.stat().st_mtime_ns
    for scale, time in ((8, when - 10**15), (77, when)):  # other bytes and an older time, or an equal one
        write_matrices(path, scale)
        os.utime(path, ns=(time, time))
        assert made() == {"prepare_motifs": 1}
    write_matrices(path, 9)
    os.utime(path, ns=(when, when))
    assert made() == {}


def test_a_fresh_checkout_reruns_nothing_and_an_edited_script_its_rule(project, made):
    for path in project.root.rglob("*.*"):
        os.utime(path)
    assert made() == {}
    script = project.root / "workflow/scripts/prepare_motifs.py"
    text = script.read_text()
    script.write_text(f"# a comment\n{text}")
    assert made() == {}
    script.write_text(text + "    print('edited')\n")
    assert made() == {"prepare_motifs": 1}


def test_only_files_that_no_rule_makes_are_compared_by_size_and_date(project):
    """Others change while a run makes them, and its last line would say that the user has edited them."""
    files = ["resources/demo/x", "resources/cohort/x", "results/x", "mine/x"]
    for name in files:
        (project.folder / name).parent.mkdir(parents=True)
        (project.folder / name).touch()
    path = project.folder / "shown.smk"
    path.write_text(f'include: "{project.root}/Snakefile"\nprint("STATES", *map(bool, states(*{files})))\n')
    assert "STATES False False False True\n" in project.snakemake("--dry-run", "-s", path, "download").stdout


GPU_RULES = "train_model evaluate_model sequence_readout reference_profile infer_binding".split()


def granted(text):
    """Rule -> GPUs that a plan shows for its jobs."""
    blocks = re.split(r"^(?:local)?(?:rule|checkpoint) ", text, flags=re.M)[1:]
    found = {block.partition(":")[0]: re.search(r"resources: .*\bgpu=(\d+)", block) for block in blocks}
    return {rule: int(gpu[1]) for rule, gpu in found.items() if gpu}


def test_one_gpu_at_a_time_here_and_what_a_profile_says_elsewhere(project, monkeypatch):
    """profiles/default is stronger than any other profile, so it must not hold the limit."""
    without = "1" if may_have_gpu() else "None"
    tools = project.folder / "tools"
    tools.mkdir()

    def limits(*options):
        show = 'print("LIMIT", workflow.global_resources.get("gpu").value)'
        path = project.folder / "shown.smk"
        path.write_text(f'include: "{project.root}/Snakefile"\n{show}\nworkflow.default_target = "all"\n')
        profile = ("--workflow-profile", project.root / "profiles/default")
        text = project.snakemake("--dry-run", "-s", path, *profile, *options).stdout
        return re.search(r"LIMIT (\w+)", text)[1], set(granted(text).items())

    assert limits() == (without, {(rule, 1) for rule in GPU_RULES})
    (tools / "nvidia-smi").write_text("#!/bin/sh\n")
    (tools / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    assert limits() == ("1", {(rule, 1) for rule in GPU_RULES})
    assert limits("--resources", "gpu=2") == ("2", {(rule, 1) for rule in GPU_RULES})
    assert limits("--profile", project.root / "profiles/ci")[0] == "0"
    assert limits("--resources", "gpu=0") == ("0", {(rule, 0) for rule in GPU_RULES})
    slurm = project.folder / "slurm"
    slurm.mkdir()
    text = (project.root / "profiles/slurm/profile.yaml").read_text()
    (slurm / "profile.yaml").write_text(text.replace("executor: slurm\n", ""))  # which is not installed here
    assert limits("--profile", slurm)[0] == "None"
    (slurm / "profile.yaml").write_text(text.replace("executor: slurm\n", "resources:\n  gpu: 50\n"))
    assert limits("--profile", slurm)[0] == "50"


def test_a_job_on_a_cluster_without_gpus_asks_for_none(project, monkeypatch):
    """Snakemake does not tell the job on a node of the limit, so srun would ask for a GPU again."""
    monkeypatch.setenv("SCBIND_GPU", "0")
    target = "results/models/scbind/model.safetensors"
    remote = project.snakemake("--dry-run", "--mode", "remote", target).stdout
    assert granted(remote)["train_model"] == 0


def test_a_cluster_without_gpus_needs_one_switch(project, monkeypatch):
    """A made-up SLURM whose only partition is that for CPUs; it refuses to take a job."""
    tools = project.folder / "tools"
    tools.mkdir()
    texts = {"sinfo": "echo 'cpu|64|(null)'", "sbatch": "echo no job is taken >&2; exit 1", "sacct": "exit 0"}
    for name, text in texts.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")

    def said(*options):
        status = ("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1")
        profile = ("--profile", project.root / "profiles/slurm", "--retries", "0", *status)
        target = "results/models/scbind/model.safetensors"
        reply = project.snakemake(*profile, *options, "--", target, check=False)
        assert reply.returncode
        return reply.stdout

    refused = "ERROR the profile: rule train_model asks for the partition gpu, but SLURM has only cpu; "
    assert refused in said() and "no job is taken" not in said()
    text = said("--resources", "gpu=0")
    assert "ERROR the profile" not in text and "no job is taken" in text, text[-3000:]
