"""Checks of a SLURM cluster before the first job: what SLURM would refuse, or would let a run wait for ever."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from scbind.core.errors import InputError

PROFILE = "the profile"
LINES = 40  # shown of a log of SLURM


class Needs(NamedTuple):
    """What the jobs of a rule ask SLURM for."""

    threads: int
    gpus: int = 0
    partition: str | None = None  # names, separated by commas; None: the partition that SLURM chooses


def find_partition(
    rule: str, threads: int, resources: Mapping, table: str | Path, choose: Callable[..., str | None]
) -> str:
    """Return the name of the partition that the executor chooses for a job that does not name its partition itself.

    Parameters
    ----------
    rule, threads, resources
        Rule of the job, and what it asks for, such as ``{"gpu": 1, "runtime": 60}``. What is not known before the job
        starts is left out.
    table
        ``profiles/slurm/partitions.yaml``.
    choose
        The function of the executor that gets the job and a logger. It returns None if no partition fits.

    Raises
    ------
    InputError
        If no partition of the table has what the job asks for. The executor would take the default partition.
    """
    quiet = logging.getLogger(__name__)  # the executor says the partition of each job when it submits it
    quiet.disabled = True
    found = choose(SimpleNamespace(name=rule, threads=threads, resources=resources), quiet)
    if found:
        return found
    asked = [f"{threads} threads", f"{resources.get('gpu') or 0} GPUs"]
    asked += [f"{key} {resources[key]}" for key in ("mem_mb", "runtime") if key in resources]
    problem = f"no partition has what rule {rule} asks for ({', '.join(asked)})"
    raise InputError(
        table, problem, "correct the partitions, or add resources: gpu: 0 to the profile to use CPUs"
    )


def check_slurm(rules: Mapping[str, Needs], status_command: str | None) -> None:
    """Check that jobs fit on a node, and that the end of a job is noticed.

    Parameters
    ----------
    rules
        Rule -> what its jobs ask for.
    status_command
        The command that the executor asks for the state of jobs: ``sacct``, ``squeue`` or None (its own choice).

    Raises
    ------
    InputError
        If a rule asks for a partition that does not exist, or for more threads or GPUs than any node of its partition
        has, or if ``sacct`` is asked and SLURM keeps no accounts.
    """
    # -a: hidden partitions, too; -e: a line for each kind of node, where sinfo otherwise tells the smallest of them
    code, said = _answer("sinfo", "-a", "-e", "-h", "-o", "%R|%c|%G")
    nodes = [line.strip().split("|", 2) for line in said.splitlines() if line.count("|") >= 2]
    if not code and nodes:
        for rule in sorted(rules, key=lambda rule: -rules[rule].threads):
            _check_rule(rule, rules[rule], nodes)
    if status_command != "squeue":
        code, said = _answer("sacct", "-n", "-X", "-j", "1")
        if code:
            why = f"SLURM keeps no accounts here ({' '.join(said.split())})"
            problem = f"{why}, so the end of a job would not be noticed"
            raise InputError(PROFILE, problem, "add slurm-status-command: squeue")


def unseen_reasons(logs: str | Path, since: float) -> list[str]:
    """Return what SLURM logged of the jobs that failed before their own log began.

    Snakemake shows the logs of a failed job only up to the first that is empty or missing, which is the job's own.

    Parameters
    ----------
    logs
        Folder of the logs of SLURM. The executor removes those of jobs that succeeded.
    since
        Older logs are of other runs (seconds since 1970).
    """
    found = []
    for path in sorted(Path(logs).rglob("*.log")):
        text = path.read_text(errors="replace") if path.stat().st_mtime >= since else ""
        own = re.findall(r"^    log: ([^\n,]+?)(?: \(check log.*)?(?:,.*)?$", text, re.M)
        if not text or any(Path(log).is_file() and Path(log).stat().st_size for log in own):
            continue
        # Snakemake announces the job last of all with its resources; what follows is of the job
        said = re.split(r"^    resources: .*\n", text, flags=re.M)[-1].strip()
        found += [f"Log of SLURM {path}:", *(f"  {line}" for line in said.splitlines()[:LINES])]
    return found


def _check_rule(rule: str, needs: Needs, nodes: list[list[str]]) -> None:
    """Check one rule against the nodes: partition, CPUs and generic resources (``gpu:a100:4``) of each kind."""
    wanted = needs.partition.split(",") if needs.partition else None
    there = sorted({partition for partition, _, _ in nodes})
    if wanted and not set(wanted) & set(there):
        problem = (
            f"rule {rule} asks for the partition {needs.partition}, but SLURM has only {', '.join(there)}"
        )
        raise InputError(PROFILE, problem, "write one of these into partitions.yaml of the profile")
    own = [(cpus, devices) for partition, cpus, devices in nodes if not wanted or partition in wanted]
    where = f" of partition {needs.partition}" if wanted else ""
    largest = max(int(re.match(r"\d+", cpus)[0]) for cpus, _ in own)
    if needs.threads > largest:
        asked = f"rule {rule} asks for {needs.threads} threads, but the largest node{where} has {largest}"
        raise InputError(PROFILE, f"{asked}, so its job would wait for ever", f"add max-threads: {largest}")
    most = max(_gpus(devices) for _, devices in own)
    if needs.gpus > most:
        asked = f"rule {rule} asks for {needs.gpus} GPU{'s'[: needs.gpus > 1]}"
        problem = f"{asked}, but the nodes{where} have {most or 'none'}, so SLURM would refuse its job"
        remedy = "correct partitions.yaml of the profile, or add resources: gpu: 0 to use CPUs"
        raise InputError(PROFILE, problem, remedy)


def _gpus(devices: str) -> int:
    """Count the GPUs in what sinfo says of a node, such as ``gpu:a100:4(S:0-1),shard:8``."""
    found = re.findall(r"(?:^|,)gpu(?::[^:,(]+)*?:(\d+)(?=[,(]|$)", devices)
    return sum(map(int, found))


def _answer(*command: str) -> tuple[int, str]:
    """Return the exit status of a command and what it said; 0 and nothing if it is not installed or does not answer."""
    if shutil.which(command[0]) is None:
        return 0, ""
    try:
        reply = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0, ""
    return reply.returncode, reply.stdout + reply.stderr
