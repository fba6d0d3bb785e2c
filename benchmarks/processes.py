"""Run a program and see how much memory it takes. Little is imported: the parent of what is measured stays small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

# A child's peak memory begins with that of its parent, so whoever measures makes nothing large itself.
POLL = 0.02  # s between two looks at a child's memory


def measure(command: list[str], threads: int) -> dict:
    """Run a command; the JSON object in the last line that it prints, with ``peak`` and ``own`` memory in bytes.

    ``peak`` is that of its resident memory, or that of the largest program that it ran; ``own`` without mapped files,
    which the system can drop.
    """
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    limits["OMP_WAIT_POLICY"] = "PASSIVE"  # as the Snakefile has it
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
