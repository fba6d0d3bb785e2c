"""Damaged inputs end in one readable line or in a plausible result; `benchmarks/fuzz.py` tries thousands of them."""

import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz.py"


def fuzz(*arguments, code=""):
    """Run the fuzzer in a process of its own, because it forks; ``code`` is run before it."""
    start = f"import sys; sys.path.insert(0, {str(FUZZ.parent)!r}); import fuzz; {code}\nfuzz.main()"
    command = [sys.executable, "-c", start, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_damaged_inputs_end_in_one_line_or_a_result():
    done = fuzz("--alterations", 150, "--seed", 5)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    name, number, results, refusals, findings = done.stdout.splitlines()[-1].strip("| ").split(" | ")
    assert (name, number, findings) == ("all", "150", "0")
    assert int(results) > 20 and int(refusals) > 50


def test_crashes_hangs_and_leftovers_are_found():
    code = """
def bad(what):
    def read(inputs, out):
        if what == "crash": os.kill(os.getpid(), 11)
        if what == "hang": time.sleep(60)
        if what == "memory": b"x" * 600_000_000
        (out / "left").write_text("x") if what == "leftover" else None
        if what == "implausible": raise Implausible("chr9")
        raise (InputError if what == "leftover" else KeyError)(*"abc")
    return Kind(what, {"x": b"a\\n"}, ("x",), read)
import os, time, fuzz
from fuzz import Implausible, InputError, Kind
made = fuzz.make_kinds
fuzz.make_kinds = lambda *given: [*made(*given), *map(bad, "crash hang memory leftover implausible error".split())]
"""
    code = f"exec({code!r})"
    names = ["crash", "hang", "memory", "leftover", "implausible", "error"]
    done = fuzz("--alterations", 6, "--seconds", 5, "--memory", 0.3, "--kinds", *names, code=code)
    assert done.returncode == 1, done.stderr[-3000:]
    parts = {part.partition(":")[0]: part for part in done.stdout.split("FINDING ")[1:]}
    said = {
        "crash": "ended with -11", "hang": "more than 5 s", "memory": "took 0.6 GB",
        "leftover": "left behind: ['left']",
        "implausible": "implausible: chr9", "error": "KeyError",
    }  # fmt: skip
    assert all(text in parts[name] for name, text in said.items()), done.stdout
