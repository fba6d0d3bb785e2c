"""The workflow on a SLURM of one node, which the tests start: results, failures, retries, interruption, GPUs.

Only with SCBIND_SLURM=1 (make test-slurm), as root, with the Debian packages slurm-wlm, slurm-client and munge.
"""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import yaml
from proctree import lives, waited
from smalldemo import make_small

CONFIGURATION = Path("/etc/slurm")  # jobs find no other: the executor takes SLURM_CONF from their environment
NEEDED = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo", "scontrol", "scancel")


def why_not() -> str | None:
    """Why no SLURM can be started here; None if it can."""
    if not os.environ.get("SCBIND_SLURM"):
        return "SCBIND_SLURM is not set: make test-slurm"
    if os.geteuid():
        return "only root can start a SLURM"
    if missing := [name for name in NEEDED if not shutil.which(name)]:
        return f"not installed: {', '.join(missing)} (apt-get install slurm-wlm slurm-client munge)"
    if (CONFIGURATION / "slurm.conf").exists():
        return f"{CONFIGURATION}/slurm.conf is there: this machine has a SLURM of its own"
    return None


WHY_NOT = why_not()
pytestmark = [pytest.mark.workflow, pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))]

CPUS = min(2, os.cpu_count())
MEMORY = 64000  # MB that the node says to have, as much as a rule may ask for; the data are small
MOTIFS = "results/motifs/motifs.npz"
MODEL = "results/models/scbind/model.safetensors"


def asked(*command) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


class Slurm:
    """One node, without accounts; the daemons are children of this process."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="scbind-slurm-"))
        self.folder.chmod(0o755)  # slurmctld is not root
        self.daemons, self.files = [], []

    def begin(self, *command, **options):
        said = open(self.folder / f"{command[0]}.out", "a")
        self.daemons.append(subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, **options))

    def write(self, name: str, text: str):
        with open(CONFIGURATION / name, "x") as handle:
            self.files.append(Path(handle.name))
            handle.write(text)

    def start(self, gpus: int = 0):
        host = os.uname().nodename.partition(".")[0]
        state, spool = (self.folder / f"{name}{gpus}" for name in ("state", "spool"))
        state.mkdir()
        spool.mkdir()
        shutil.chown(state, "slurm", "slurm")
        partitions = ["cpu", "gpu"] if gpus else ["cpu"]
        if gpus:
            self.write("gres.conf", f"NodeName={host} Name=gpu File=/dev/null\n")
        lines = [
            "ClusterName=one",
            f"SlurmctldHost={host}(127.0.0.1)",
            "AuthType=auth/munge",
            "SlurmUser=slurm",
            f"StateSaveLocation={state}",
            f"SlurmdSpoolDir={spool}",
            f"SlurmctldPidFile={state}/slurmctld.pid",
            f"SlurmdPidFile={spool}/slurmd.pid",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core_Memory",
            "AccountingStorageType=accounting_storage/none",
            "MinJobAge=300",
            "ReturnToService=2",
            "MpiDefault=none",
            "SlurmdParameters=config_overrides",  # the machine may have less memory
            *(["GresTypes=gpu"] if gpus else []),
            f"NodeName={host} NodeAddr=127.0.0.1 CPUs={CPUS} RealMemory={MEMORY}"
            + (f" Gres=gpu:{gpus}" if gpus else ""),
            *(
                f"PartitionName={name} Nodes=ALL Default={'NO' if name == 'gpu' else 'YES'}"
                for name in partitions
            ),
        ]
        self.write("slurm.conf", "\n".join(lines) + "\n")
        if subprocess.run(["munge", "-n"], capture_output=True).returncode:
            Path("/run/munge").mkdir(exist_ok=True)
            shutil.chown("/run/munge", "munge", "munge")
            Path("/run/munge").chmod(0o755)
            self.begin("munged", "-F", user="munge", group="munge", extra_groups=[])
            assert waited(lambda: not subprocess.run(["munge", "-n"], capture_output=True).returncode, 20)
        self.begin("slurmctld", "-D")
        self.begin("slurmd", "-D")
        idle = ["sinfo", "-h", "-o", "%T"]
        up = waited(
            lambda: subprocess.run(idle, capture_output=True, text=True).stdout.startswith("idle"), 60
        )
        assert up, "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.out"))

    def stop(self):
        if (CONFIGURATION / "slurm.conf") in self.files:
            subprocess.run(["scancel", "-u", "root"], capture_output=True)
            waited(lambda: not self.queue(), 30)
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for path in self.files:
            path.unlink()
        self.daemons, self.files = [], []

    def queue(self) -> list[str]:
        """The jobs that wait, run or end."""
        return subprocess.run(["squeue", "-h"], capture_output=True, text=True).stdout.splitlines()


@pytest.fixture(scope="module")
def slurm():
    cluster = Slurm()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(cluster.folder)


def options(project, *more, partitions: dict | None = None, gpus: int | None = 0) -> list:
    """The options of a run: profiles/slurm, changed as docs/how-to/gpus-and-clusters.md says for this cluster.

    Its partitions are as shipped, or those given. With ``gpus=0``, the one switch for a cluster without GPUs is set.
    """
    shipped = project.root / "profiles/slurm"
    profile = yaml.safe_load((shipped / "profile.yaml").read_text())
    profile |= {"slurm-status-command": "squeue", "max-threads": CPUS, "latency-wait": 10}
    profile |= {"slurm-init-seconds-before-status-checks": 2, "seconds-between-status-checks": 2}
    if gpus is not None:
        profile["resources"] = {"gpu": gpus}
    folder = project.folder / "slurm"
    folder.mkdir(exist_ok=True)
    (folder / "profile.yaml").write_text(yaml.safe_dump(profile))
    table = yaml.safe_load((shipped / "partitions.yaml").read_text())
    (folder / "partitions.yaml").write_text(
        yaml.safe_dump({"partitions": partitions} if partitions else table)
    )
    return ["--profile", folder, *more]


def waiting(project):
    """Let the job of the motifs wait as long as there is a file ``wait`` in the working folder."""
    path = project.copy_workflow() / "formats/motiffiles.py"
    wait = "\nimport os as _os, time as _time\nwhile _os.path.exists('wait'):\n    _time.sleep(0.1)\n"
    path.write_text(path.read_text() + wait)
    (project.folder / "wait").touch()


def begun(project, *arguments):
    """Start a run and return its process when its first job runs."""
    with open(project.folder / "said.txt", "w") as said:
        # a shell starts what runs in its background with Ctrl-C ignored, and its children inherit this
        heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        call = project.call(*arguments)
        run = subprocess.Popen(**call, stdout=said, stderr=subprocess.STDOUT, preexec_fn=heed)
    log = project.folder / "logs/prepare_motifs/motifs.log"
    there = waited(lambda: log.exists() and "Python" in log.read_text(), 60)
    assert there, (project.folder / "said.txt").read_text()
    return run


def working_in(folder: Path) -> set[int]:
    """Numbers of the processes whose working folder this is, or whose command names it."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(folder) in path.joinpath("cmdline").read_text() + os.readlink(path / "cwd"):
                found.add(int(path.name))
    return found


def submitted(text: str) -> list[str]:
    return re.findall(r"submitted with SLURM jobid (\d+)", text)


def test_results_are_those_of_a_local_run(slurm, new_project, tmp_path):
    """The whole small demo, from the simulation to the report. The profile infers a sample in 8 parts instead of 2."""
    sums = []
    for name in ("here", "there"):
        project = new_project(tmp_path / name)
        path = project.folder / "config/config.yaml"
        config = yaml.safe_load(path.read_text())
        make_small(config)
        path.write_text(yaml.safe_dump(config))
        here = ("--max-threads", CPUS, "--resources", "gpu=0")
        said = project.snakemake(*(here if name == "here" else options(project))).stdout
        files = [path for path in (project.folder / "results").rglob("*") if path.is_file()]
        files = [path for path in files if "shards" not in path.parts]
        sums.append(
            {
                str(path.relative_to(project.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in files
            }
        )
    assert len(submitted(said)) > 50 and not slurm.queue()
    assert "results/report.html" in sums[0] and len(sums[0]) > 100
    assert sums[0] == sums[1]
    text = "".join(path.read_text() for path in project.folder.glob("logs/train_model/**/*.log"))
    assert "srun" not in text, "Lightning's hint is not for a job that Snakemake started"


def test_a_failed_job_says_why_and_returns_with_twice_the_memory(slurm, project):
    (project.folder / "bad.txt").write_text("nonsense\n")
    config = project.edited("motifs", {"release": None, "path": "bad.txt"})
    arguments = options(project, "--retries", "1", "--configfile", config, "--")
    reply = project.snakemake(*arguments, MOTIFS, check=False)
    assert reply.returncode and "ERROR bad.txt: holds no matrix; give matrices" in reply.stdout
    jobs = [asked("scontrol", "show", "job", number) for number in submitted(reply.stdout)]
    assert [re.search(r"MinMemoryNode=(\w+)", job)[1] for job in jobs] == ["2000M", "4000M"]


def test_a_job_that_dies_before_its_log_begins_says_why(slurm, project):
    project.copy_workflow()
    script = project.root / "workflow/scripts/prepare_motifs.py"
    script.write_text("import nothing_of_this_name\n" + script.read_text())
    reply = project.snakemake(*options(project, "--retries", "0"), MOTIFS, check=False)
    assert reply.returncode and "No module named 'nothing_of_this_name'" in reply.stdout
    logs = list(project.folder.glob(".snakemake/slurm_logs/rule_prepare_motifs/**/*.log"))
    assert len(logs) == 1 and str(logs[0]) in reply.stdout


def test_a_job_that_slurm_ends_is_named(slurm, project):
    waiting(project)
    run = begun(project, *options(project, "--retries", "0"), MOTIFS)
    asked("scancel", *submitted((project.folder / "said.txt").read_text()))
    assert run.wait(90)
    said = (project.folder / "said.txt").read_text()
    assert re.search(r"SLURM-job '\d+' failed, SLURM status is: 'CANCELLED'", said)
    assert re.search(r"CANCELLED AT", said), "the log of SLURM is shown"
    assert not slurm.queue()


def test_an_interrupted_run_leaves_no_job(slurm, project):
    waiting(project)
    run = begun(project, *options(project), MOTIFS)
    workers = working_in(project.folder) - {run.pid}
    assert slurm.queue() and workers
    run.send_signal(signal.SIGINT)
    assert run.wait(90)
    assert waited(lambda: not slurm.queue(), 60), "a job stays in the queue"
    assert waited(lambda: not any(map(lives, workers)), 60), "a process of the job stays"
    (project.folder / "wait").unlink()
    project.snakemake(*options(project), MOTIFS)
    assert (project.folder / MOTIFS).exists(), "the same command continues"


def test_without_gpus_a_rule_that_asks_for_one_is_refused_before_the_first_job(slurm, project):
    def refused(partitions):
        reply = project.snakemake(*options(project, partitions=partitions, gpus=None), MODEL, check=False)
        assert reply.returncode and not submitted(reply.stdout)
        return reply.stdout

    problem = r"ERROR the profile: rule train_model asks for the partition gpu, but SLURM has only cpu; "
    assert re.search(problem + r"write one of these into partitions.yaml of the profile\n", refused(None))
    problem = (
        r"ERROR the profile: rule train_model asks for 1 GPU, but the nodes of partition cpu have none, .*; "
    )
    remedy = r"correct partitions.yaml of the profile, or add resources: gpu: 0 to use CPUs\n"
    assert re.search(problem + remedy, refused({"cpu": {"max_gpu": 1}}))
    problem = (
        r"partitions.yaml: no partition has what rule train_model asks for \(\d+ threads, 1 GPUs, .*\); "
    )
    assert re.search(
        problem + r".* or add resources: gpu: 0 to the profile to use CPUs\n", refused({"cpu": {}})
    )


def test_a_job_gets_the_gpu_that_its_rule_asks_for(slurm, project):
    slurm.stop()
    slurm.start(gpus=1)
    try:

        def run(gpus, check=True):
            own = ["--set-resources", f"prepare_motifs:gpu={gpus}", "--"]
            return project.snakemake(*options(project, *own, MOTIFS, gpus=None), check=check).stdout

        said = run(2, check=False)
        assert re.search("rule prepare_motifs asks for 2 GPUs, but the nodes of partition gpu have 1, ", said)
        (job,) = submitted(run(1))
        about = asked("scontrol", "show", "job", job)
        assert re.search(r"Partition=gpu\b", about) and re.search(r"gpu:1\b", about)
    finally:
        slurm.stop()
        for name in ("state0", "spool0"):
            shutil.rmtree(slurm.folder / name)
        slurm.start()
