"""Run a program and measure its memory. Few imports keep this parent process small."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
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


def measure_page(
    about: str, shape: type, make: Callable, write: Callable, threads: int
) -> tuple[argparse.Namespace, dict[str, float]]:
    """Run a benchmark of a page: make its inputs unless they are there, write the page, return arguments and costs.

    The command line is ``FOLDER``, an option per field of the dataclass ``shape``, ``--threads``, ``--rounds``,
    ``--no-browser`` and ``--picture``. ``make(folder, shape)`` returns what ``write(folder, files)`` makes the page of.
    Both run in processes of their own, because the peak memory of a child starts at the memory of its parent. The costs
    are seconds, processor seconds and peak memory of ``write``.
    """
    script = sys.argv[0]
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))
    if sys.argv[1:2] == ["--make"]:
        folder = Path(sys.argv[2])
        (folder / "files.pickle").write_bytes(pickle.dumps(make(folder, shape(**json.loads(sys.argv[3])))))
        sys.exit()
    if sys.argv[1:2] == ["--write"]:
        folder = Path(sys.argv[2])
        files = pickle.loads((folder / "files.pickle").read_bytes())
        begin, used = time.perf_counter(), time.process_time()
        write(folder, files)
        print(json.dumps({"seconds": time.perf_counter() - begin, "cpu": time.process_time() - used}))
        sys.exit()
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, field in shape.__dataclass_fields__.items():
        parser.add_argument(f"--{name}", type=int, default=field.default)
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-browser", action="store_true")
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    if not args.no_browser:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
        from browser import BROWSER

        if BROWSER is None:
            parser.error("no Chromium or Chrome on the PATH: install one, or give --no-browser")
    wanted = json.dumps({name: getattr(args, name) for name in shape.__dataclass_fields__})
    if not (args.folder / "files.pickle").exists():
        args.folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, script, "--make", args.folder, wanted], check=True)
    spent = measure([sys.executable, script, "--write", str(args.folder)], args.threads)
    return args, {"seconds": spent["seconds"], "CPU s": spent["cpu"], "peak, MiB": spent["peak"] / 2**20}


def show_row(found: dict[str, float]) -> None:
    """Print one row of a Markdown table and its heading; numbers have three significant digits."""
    print("| " + " | ".join(found) + " |\n" + "|---" * len(found) + "|")
    print("| " + " | ".join(f"{v:,.3g}" if isinstance(v, float) else f"{v:,}" for v in found.values()) + " |")
