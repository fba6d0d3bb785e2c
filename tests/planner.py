"""Dry runs of Snakemake in processes that begin with Snakemake already imported: they take half as long."""

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["snakemake.cli"])


def plan(args: list[str], cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess:
    """Do what ``python -m snakemake`` does with the arguments; stdout holds everything that was printed."""
    with tempfile.NamedTemporaryFile("r", errors="replace") as said:
        child = SERVER.Process(target=_main, args=(args, cwd, env, said.name))
        child.start()
        child.join()
        return subprocess.CompletedProcess(args, child.exitcode, stdout=said.read())


def _main(args: list[str], cwd: Path, env: dict[str, str], said: str) -> None:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    file = os.open(said, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = ["snakemake", *args]  # the workflow reads it
    from snakemake.cli import main

    try:
        main(args)
    finally:
        atexit._run_exitfuncs()  # a process of multiprocessing does not
