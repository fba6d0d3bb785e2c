"""Run a program and measure its memory. Few imports keep this parent process small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

# The peak memory of a child starts at the memory of its parent, so the parent must stay small.
POLL = 0.02  # seconds between two measurements of the memory of a child


def measure(command: list[str], threads: int) -> dict:
    """Run a command; returns the JSON object in the last line of its output, with memory ``peak`` and ``own`` in bytes.

    ``peak`` is the peak resident memory of the program, or of the largest program that it ran. ``own`` leaves out
    mapped files, which the system can drop.
    """
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    limits["OMP_WAIT_POLICY"] = "PASSIVE"  # as in the Snakefile
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | limits, text=True)
    own, status = 0, Path(f"/proc/{process.pid}/status")
    while True:
        pid, code, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        for line in status.read_text().splitlines() if status.exists() else ():
            if line.startswith("RssAnon"):
                own = max(own, int(line.split()[1]) * 1024)
        time.sleep(POLL)
    process.returncode = os.waitstatus_to_exitcode(code)
    text = process.stdout.read()
    process.stdout.close()
    if process.returncode:
        sys.exit(f"failed with {process.returncode}: {' '.join(command)}")
    return json.loads(text.splitlines()[-1]) | {"peak": usage.ru_maxrss * 1024, "own": own}
