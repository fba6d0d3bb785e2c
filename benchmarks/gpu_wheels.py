"""Fetch the wheels that a GPU machine lacks, in the versions of the lock file.

    python benchmarks/gpu_wheels.py [--folder .whl --python 3.12]

Run it where scbind is installed, because it reads the dependencies from the installed packages. The GPU machine has
torch, pytorch-lightning, numpy, pandas, scipy and scikit-learn with all their dependencies. The script fetches all
other packages that training, inference and evaluation import.
"""

import argparse
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = Path(__file__).resolve().parents[1] / "envs" / "requirements.lock"
GIVEN = ("torch", "pytorch-lightning", "numpy", "pandas", "scipy", "scikit-learn")
IMPORTED = ("anndata", "h5py", "numcodecs", "threadpoolctl")  # by the parts of scbind that use a GPU
LIMIT = 20  # maximum size in MB, so that wheels and data together stay below 60 MB
GLIBC = (17, 24, 27, 28, 31, 34)  # minor versions of glibc 2.x for which wheels are built


def needs(roots: tuple[str, ...], python: str) -> set[str]:
    """Names of packages and of all their direct and indirect dependencies, on Linux with a version of Python."""
    where = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    found, waiting = set(), [canonicalize_name(root) for root in roots]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for line in metadata.requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate(where):
                waiting.append(canonicalize_name(needed.name))
    return found


def pins() -> dict[str, str]:
    """Package -> locked version."""
    lines = re.findall(r"^([\w.\-]+)==(\S+)", LOCK.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in lines}


def main() -> None:
    """Fetch the wheels and print their total size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path(".whl"))
    parser.add_argument("--python", default="3.12", help="version of Python on the GPU machine")
    args = parser.parse_args()
    locked = pins()
    wanted = sorted(needs(IMPORTED, args.python) - needs(GIVEN, args.python))
    if unknown := [name for name in wanted if name not in locked]:
        sys.exit(f"ERROR {LOCK}: no version of {', '.join(unknown)}; run make lock")
    args.folder.mkdir(exist_ok=True)
    for old in args.folder.glob("*.whl"):
        old.unlink()
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in GLIBC]
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    command += [
        f"--python-version={args.python}",
        "--implementation=cp",
        *platforms,
        "--platform=manylinux2014_x86_64",
    ]
    subprocess.run([*command, "-d", args.folder, *(f"{name}=={locked[name]}" for name in wanted)], check=True)
    megabytes = sum(path.stat().st_size for path in args.folder.glob("*.whl")) / 1e6
    print(f"{len(wanted)} wheels, {megabytes:.1f} MB, in {args.folder}: {', '.join(wanted)}")
    if megabytes > LIMIT:
        sys.exit(f"ERROR {args.folder}: more than {LIMIT} MB; import less where a GPU is used")


if __name__ == "__main__":
    main()
