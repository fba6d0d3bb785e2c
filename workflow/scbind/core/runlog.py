"""One log per job, and one readable line if the input is wrong."""

from __future__ import annotations

import errno
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from scbind.core.children import end_with_run
from scbind.core.errors import InputError, printable, redacted
from scbind.core.scratch import remove_own

DENIED = (errno.EACCES, errno.EPERM)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
# Messages of numpy, pysam and torch for an incomplete write; they give no error number.
FELL_SHORT = re.compile(
    r"\d+ requested and \d+ written|BGZFile write failed|inline_container.*unexpected pos"
)
# HDF5 may write only when it closes the file, and gives the number in the text of a RuntimeError.
OF_HDF5 = re.compile(r"file write failed: .*?, errno = (\d+), ", re.S)


# Where libraries read how many threads to use. Without them, BLAS and OpenMP use all cores of the machine in every job:
# slower on small matrices, a hindrance to the other jobs, and sums in another order on another machine.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


_about: ContextVar[str] = ContextVar("about", default="")


@contextmanager
def logged(log_path: str | Path, threads: int = 1) -> Iterator[None]:
    """Send stdout and stderr, including those of child processes, to a log file. Its first line names the environment.

    Libraries that are imported from now on use ``threads`` threads.

    An :class:`InputError` ends the process with its one line instead of a traceback. So does a full disk, and a file
    that this user may not read or write. Any other error keeps its traceback, because it is a bug of scbind. If the run
    ends, the job ends, too.
    """
    end_with_run()
    os.environ |= dict.fromkeys(THREADS, str(threads))
    # a process that trains on a further GPU runs the same script again, and must not empty the log of the first
    empty = 0 if "LOCAL_RANK" in os.environ else os.O_TRUNC
    try:
        Path(log_path).parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | empty, 0o666)
    except OSError as error:
        if (known := denied(error) or full_disk(error)) is None:
            raise
        say(f"ERROR {known}")
        sys.exit(1)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    if empty:
        with suppress(OSError):
            say(f"Python {platform.python_version()} in {sys.prefix}")
    _end_on_full_disk()
    try:
        yield
    except Exception as error:
        known = error if isinstance(error, InputError) else denied(error) or full_disk(error)
        if known is None:
            raise
        with suppress(OSError):  # the log may lie on the full disk
            say(f"ERROR {known}")
        sys.exit(1)


def _end_on_full_disk() -> None:
    """Let this process end as soon as a write fails on a full disk while an object is freed.

    Python cannot raise such an error. It prints it and goes on: the file would lack a part, or HDF5 would crash when it
    closes the file.
    """

    def end(error: BaseException | None) -> None:
        if error and (known := full_disk(error)):
            with suppress(OSError):
                say(f"ERROR {known}")
            remove_own()
            os._exit(1)

    # Cython shows such an error by one hook, and then by the other
    sys.unraisablehook = lambda each: end(each.exc_value) or sys.__unraisablehook__(each)
    sys.excepthook = lambda kind, error, trace: end(error) or sys.__excepthook__(kind, error, trace)


def denied(error: BaseException) -> InputError | None:
    """Return the message if this user may not read or write a file; else None."""
    path = getattr(error, "filename", None)
    if getattr(error, "errno", None) not in DENIED or not path:
        return None
    remedy = "give this user the right to read it, or to write into its folder, and run again"
    return InputError(path, os.strerror(error.errno), remedy)


def full_disk(error: BaseException) -> InputError | None:
    """Return the message for a disk that is full, over quota or read-only, if this caused the error; else None."""
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        number = getattr(error, "errno", None)
        if of_hdf5 := OF_HDF5.search(str(error)):
            number = int(of_hdf5[1])
        short = FELL_SHORT.search(str(error))
        if number in FULL or short:
            problem = f"cannot write: {os.strerror(number) if number in FULL else short[0]}"
            place = getattr(error, "filename", None) or Path.cwd()
            remedy = "free space (or quota) there and run again; the step starts from its beginning"
            if number == errno.EROFS:
                remedy = "use a folder that can be written, or make this one writable, and run again"
            return InputError(place, problem, remedy)
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def about(what: str) -> Iterator[None]:
    """Begin all lines of this thread with ``what``, for jobs that do several things at the same time."""
    before = _about.set(f"{_about.get()}{what}: ")
    try:
        yield
    finally:
        _about.reset(before)


def say(message: str) -> None:
    """Print one line of progress, without passwords. It is written at once, so that the log can be followed.

    Lines of several threads do not run into each other.
    """
    line = printable(redacted(f"{_about.get()}{message}"))
    sys.stderr.write(f"{line}\n")  # one write for text and line end
    sys.stderr.flush()
