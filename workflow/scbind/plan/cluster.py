"""Checks of a SLURM cluster before the first job: what SLURM would refuse, or would let a run wait for ever."""

from __future__ import annotations

import logging
import math
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
    gpus: int | str = 0
    partition: str | None = None  # names, separated by commas; None: the default partition
    memory: int = 0  # MB; 0: not known before the job starts


class Node(NamedTuple):
    """A kind of node of a partition."""

    partition: str
    default: bool  # whether the partition is the default one
    cpus: int
    gpus: int
    memory: float  # MB; infinite: not told


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
        If a rule asks for a partition that does not exist, or for threads, GPUs and memory that no single node of its
        partition has, or if ``sacct`` is asked and SLURM keeps no accounts.
    """
    # -a: hidden partitions, too; -e: a line for each kind of node, where sinfo otherwise tells the smallest of them
    code, said = _answer("sinfo", "-a", "-e", "-h", "-o", "%P|%c|%G|%m")
    nodes = _nodes(said)
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


def _check_rule(rule: str, needs: Needs, nodes: list[Node]) -> None:
    """Check one rule against the nodes: a job runs on one node, in one partition."""
    gpus = _number(rule, needs.gpus)
    there = sorted({node.partition for node in nodes})
    if needs.partition:
        wanted = set(needs.partition.split(","))
        where = f" of partition {needs.partition}"
    else:  # without a default partition, it is not known where SLURM would put the job
        wanted = {node.partition for node in nodes if node.default}
        where = f" of the default partition {', '.join(sorted(wanted))}" if wanted else ""
        wanted = wanted or set(there)
    own = [node for node in nodes if node.partition in wanted]
    if not own:
        problem = (
            f"rule {rule} asks for the partition {needs.partition}, but SLURM has only {', '.join(there)}"
        )
        raise InputError(PROFILE, problem, "write one of these into partitions.yaml of the profile")
    largest, most = max(node.cpus for node in own), max(node.gpus for node in own)
    of_gpus = f"{gpus} GPU{'s'[: gpus > 1]}"
    if needs.threads > largest:
        asked = f"rule {rule} asks for {needs.threads} threads, but the largest node{where} has {largest}"
        raise InputError(PROFILE, f"{asked}, so its job would wait for ever", f"add max-threads: {largest}")
    if gpus > most:
        asked = f"rule {rule} asks for {of_gpus}"
        problem = f"{asked}, but the nodes{where} have {most or 'none'}, so SLURM would refuse its job"
        remedy = "correct partitions.yaml of the profile, or add resources: gpu: 0 to use CPUs"
        raise InputError(PROFILE, problem, remedy)
    beside = max(node.cpus for node in own if node.gpus >= gpus)
    if needs.threads > beside:
        asked = f"rule {rule} asks for {needs.threads} threads and {of_gpus}, but no node{where} has both"
        remedy = f"add max-threads: {beside}, or resources: gpu: 0 to use CPUs"
        raise InputError(PROFILE, f"{asked}, so SLURM would refuse its job", remedy)
    roomy = max(node.memory for node in own if node.gpus >= gpus and node.cpus >= needs.threads)
    if needs.memory > roomy:
        beside = " with as many threads and GPUs" if any(node.memory > roomy for node in own) else ""
        asked = f"rule {rule} asks for {needs.memory} MB, but the largest node{where}{beside} has {roomy}"
        remedy = f"add set-resources: {rule}: mem_mb: {roomy}, which may suffice for small data"
        raise InputError(PROFILE, f"{asked}, so SLURM would refuse its job", remedy)


def _nodes(text: str) -> list[Node]:
    """Read what sinfo says, a line per kind of node. Other lines, such as warnings, do not count."""
    form = r"\s*([^|*]+)(\*?)\|(\d+)\+?\|([^|]*)(?:\|(\d+)\+?)?"
    found = (re.fullmatch(form, line) for line in text.splitlines())
    return [
        Node(each[1], bool(each[2]), int(each[3]), _gpus(each[4]), int(each[5]) if each[5] else math.inf)
        for each in found
        if each
    ]


def _number(rule: str, gpus: int | str) -> int:
    """Return a number of GPUs, which a profile may hold as text."""
    try:
        return int(gpus)
    except (TypeError, ValueError):
        problem = f"rule {rule} asks for gpu: {gpus}, which is not a whole number"
        raise InputError(PROFILE, problem, "write the number as gpu, and a model as gpu_model") from None


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
