import errno
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import scbind
from scbind.core.errors import InputError
from scbind.core.progress import Progress
from scbind.core.runlog import about, full_disk, say

WRITERS = {
    "text": "open('x', 'w').write('x' * 200_000)",
    "numpy": "np.zeros(50_000).tofile('x')",
    "npz": "np.savez('x.npz', a=np.arange(50_000))",
    "hdf5": "import h5py\n    with h5py.File('x', 'w') as file: file['a'] = np.arange(50_000)",
    # HDF5 keeps small parts until it closes the file, and then fails while objects are freed
    "hdf5 at its end": "import h5py; from scbind.core.files import atomic\n"
    "    with atomic('x') as path, h5py.File(path, 'w') as file:\n"
    "        for name in range(300): file[str(name)] = [name]",
    "parquet": "import pyarrow as pa, pyarrow.parquet as pq\n"
    "    pq.write_table(pa.table({'a': np.random.random(50_000)}), 'x')",
    "bgzip": "import pysam\n    with pysam.BGZFile('x', 'wb') as file: file.write(np.random.bytes(200_000))",
    "scratch": "import os; from scbind.core.files import scratch_array\n"
    "    scratch_array(os.getcwd(), (200_000,), 'int8')",
    "torch": "import torch\n    torch.save(torch.zeros(50_000), 'x')",
}


def run(folder, body):
    code = f"import numpy as np\nfrom scbind.core.runlog import logged\nwith logged('x.log'):\n    {body}\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        # Python would leave compiled modules of at most 50 kB, which no later import can read.
        env={"PYTHONPATH": str(Path(scbind.__file__).parent.parent), "PYTHONDONTWRITEBYTECODE": "1"},
        # No file may grow beyond 50 kB: writing fails in the middle, as on a full disk.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
        check=False,
    )
    return done.returncode, (folder / "x.log").read_text().splitlines()


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_one_line_whatever_writes(tmp_path, writer):
    code, lines = run(tmp_path, WRITERS[writer])
    assert code == 1 and not any("Traceback" in line for line in lines)
    assert lines[-1].startswith(f"ERROR {tmp_path}: cannot write: ")
    assert lines[-1].endswith(
        "; free space (or quota) there and run again; the step starts from its beginning"
    )
    assert not list(tmp_path.glob(".*.partial.*"))


def test_a_file_that_one_may_not_read_is_one_line(tmp_path):
    code, lines = run(tmp_path, "raise PermissionError(13, 'Permission denied', 'data/a.bed')")
    remedy = "give this user the right to read it, or to write into its folder, and run again"
    assert (code, lines[1:]) == (1, [f"ERROR data/a.bed: Permission denied; {remedy}"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_log_that_cannot_be_written_is_one_line(tmp_path):
    code = "from scbind.core.runlog import logged\nwith logged('logs/x.log'): pass"
    (tmp_path / "logs").mkdir(mode=0o500)
    environment = {"PYTHONPATH": str(Path(scbind.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and done.stderr.startswith("ERROR logs/x.log: Permission denied; ")
    assert len(done.stderr.splitlines()) == 1


def test_what_is_our_fault_keeps_its_traceback(tmp_path):
    code, lines = run(tmp_path, "open('absent')")
    assert code == 1 and lines[1].startswith("Traceback") and lines[-1].startswith("FileNotFoundError")


def test_a_log_begins_with_the_environment(tmp_path):
    code, lines = run(tmp_path, "print('done')")
    assert (code, lines) == (0, [f"Python {platform.python_version()} in {sys.prefix}", "done"])


def test_a_line_of_the_log_is_one_line_that_can_be_read(capsys):
    with about("replicate 1"), about("peaks"):
        say("found")
    assert capsys.readouterr().err == "replicate 1: peaks: found\n"
    say("x.tsv: T\t1\u2028\x00\ufeff cells, naïve")
    assert capsys.readouterr().err == "x.tsv: T\\t1\\u2028\\x00\\ufeff cells, naïve\n"


def test_what_led_to_an_error_counts():
    quota = OSError(errno.EDQUOT, "quota", "results/x.npy")
    outer = RuntimeError("cannot close")
    outer.__context__ = quota
    found = full_disk(outer)
    assert isinstance(found, InputError) and str(found).startswith("results/x.npy: cannot write: ")
    assert full_disk(RuntimeError("cannot close")) is None and full_disk(OSError(errno.EACCES, "no")) is None


def test_libraries_use_the_threads_of_the_job_and_not_all_cores(tmp_path):
    code = (
        "import os\nfrom scbind.core.runlog import logged\nwith logged('x.log', {}):\n"
        "    import numpy, threadpoolctl\n"
        "    print(os.environ['OMP_NUM_THREADS'], *(each['num_threads'] for each in threadpoolctl.threadpool_info()))"
    )
    package = str(Path(scbind.__file__).parents[1])
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": package}
    for threads, expected in ((1, "1 1"), (7, "7 ")):
        subprocess.run(
            [sys.executable, "-c", code.format(threads)], cwd=tmp_path, env=environment, check=True
        )
        assert (tmp_path / "x.log").read_text().splitlines()[-1].startswith(expected)


def test_a_long_step_says_how_far_it_is_and_a_short_one_nothing(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr("scbind.core.progress.monotonic", lambda: clock[0])
    known, unknown = Progress("windows", 1_000), Progress("fragments")
    for done in range(100, 1_001, 100):
        clock[0] += 12
        known.reached(done)
        unknown.reached(done * 1_000)
    assert capsys.readouterr().err.splitlines() == [
        "windows: 300 of 1,000, about 1 min 24 s left",
        "fragments: 300,000 so far",
        "windows: 600 of 1,000, about 48 s left",
        "fragments: 600,000 so far",
        "windows: 900 of 1,000, about 12 s left",
        "fragments: 900,000 so far",
    ]
    Progress("cells", 0).reached(0)
    assert not capsys.readouterr().err
