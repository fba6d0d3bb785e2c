"""The packages of the environment in which a rule runs. It runs in that environment, so it needs only Python."""

from __future__ import annotations

import json
import platform
import site
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from scbind.core.files import atomic
from scbind.core.runlog import say


def list_versions() -> dict[str, str]:
    """Return name -> version of the packages in the environment of this interpreter.

    Python, the folder of the environment, the platform and bedtools come first. Packages elsewhere on ``sys.path`` are
    left out, because Snakemake adds its own packages, which the environment may lack or have in another version. In a
    conda environment, its other packages (such as htslib) are listed as ``conda:NAME``.
    """
    versions = {
        "python": platform.python_version(),
        "environment": sys.prefix,
        "platform": platform.platform(),
        "bedtools": _bedtools(),
    }
    own = [folder for folder in sys.path if folder in site.getsitepackages()]
    installed = {
        d.metadata["Name"]: d.version for d in metadata.distributions(path=own) if d.metadata["Name"]
    }
    for path in Path(sys.prefix).glob("conda-meta/*.json"):
        package = json.loads(path.read_text(encoding="utf-8"))
        installed[f"conda:{package['name']}"] = package["version"]
    return versions | dict(sorted(installed.items(), key=lambda item: item[0].lower()))


def record_versions(output: str | Path) -> None:
    """Write :func:`list_versions` as a tab-separated table ``name, version``."""
    versions = list_versions()
    with atomic(output) as scratch:
        rows = [("name", "version"), *versions.items()]
        scratch.write_text("".join(f"{name}\t{version}\n" for name, version in rows), encoding="utf-8")
    say(f"listed {len(versions)} packages of {versions['environment']}")


def _bedtools() -> str:
    try:
        reply = subprocess.run(["bedtools", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "not found"
    return reply.stdout.strip().removeprefix("bedtools v")
