#!/usr/bin/env bash
# Make .venv in this checkout from envs/requirements.lock, and install scbind in it. If .venv is up to date, return immediately.
#
# The script asks no questions. It needs bedtools, Python's venv module, and, to build macs3, a C++ compiler and
# Python's headers. Missing system packages are installed with apt-get, if the user has the rights.
# Set PYTHON to choose the interpreter. Set PIP_INDEX_URL or PIP_EXTRA_INDEX_URL to choose the package index.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

lock=envs/requirements.lock
stamp=.venv/.installed

die() {
    printf 'ERROR %s\n' "$*" >&2
    exit 1
}

# Install Debian packages, or stop with one sentence: what is missing, why, and what to do.
# $1: what is missing and what needs it. Other arguments: package names.
apt() {
    local reason=$1
    shift
    local as_root=()
    command -v apt-get >/dev/null || die "$reason; install it (on Debian: $*) and run this again"
    if [ "$(id -u)" -ne 0 ]; then
        { command -v sudo && sudo -n true; } >/dev/null 2>&1 ||
            die "$reason; run 'sudo apt-get install $*' and run this again"
        as_root=(sudo -n)
    fi
    echo "$reason: installing $* with apt-get"
    { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } \
        >/dev/null || die "$reason, and apt-get could not install it; install $* by hand and run this again"
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3 python3.12 python3.13}; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    die "Python 3.11 or newer was not found; install it or set PYTHON to its path and run this again"
}

command -v bedtools >/dev/null || apt "bedtools is not on the PATH (interval operations need it)" bedtools

# Whether `import scbind` finds the package of this checkout.
installed() {
    grep -qsxF "$PWD/workflow" .venv/lib/python*/site-packages/__editable__.scbind-*.pth
}

# The package is installed in place, so an edit of it needs no new installation. setuptools comes with torch.
install_scbind() {
    .venv/bin/python -m pip install --disable-pip-version-check --no-input -q --no-deps --no-build-isolation -e . ||
        die "pip could not install scbind itself into .venv; read the messages above and run this again"
}

if [ -e "$stamp" ] && cmp -s "$lock" "$stamp"; then
    installed || install_scbind
    exit 0
fi

python=$(find_python)
if [ ! -x .venv/bin/python ]; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        apt "Python's venv module is missing" "python$version-venv"
    echo "making .venv with $python"
    "$python" -m venv .venv
fi
if ! .venv/bin/python -m pip show -q macs3 2>/dev/null; then
    command -v g++ >/dev/null || apt "a C++ compiler is missing (macs3 is built from source)" g++
    command -v gcc >/dev/null || apt "a C compiler is missing (macs3 is built from source)" gcc libc6-dev
    headers=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))')
    version=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    [ -e "$headers/Python.h" ] ||
        apt "Python's headers are missing (macs3 is built from source)" "python$version-dev"
fi
# By default setuptools compiles the modules of macs3 one after the other. This file makes it use all cores.
if [ -z "${DIST_EXTRA_CONFIG:-}" ]; then
    DIST_EXTRA_CONFIG=$(mktemp)
    export DIST_EXTRA_CONFIG
    trap 'rm -f "$DIST_EXTRA_CONFIG"' EXIT
    printf '[build_ext]\nparallel = %s\n' "$(nproc)" >"$DIST_EXTRA_CONFIG"
fi
echo "installing envs/requirements.lock into .venv (several minutes the first time)"
# The lock file includes torch, so one command installs all packages. A package that needs torch cannot bring in another
# version of it. uv needs a third of the time of pip. It does not read the settings of pip, so those in the environment
# are passed on. If uv fails, pip is used. Both compile the Python modules now. Otherwise the first import would compile
# them, and Python leaves a broken module if it cannot write the whole file.
with_uv() {
    .venv/bin/python -m pip install --disable-pip-version-check --no-input -q uv==0.13.9 2>/dev/null || return
    UV_FIND_LINKS=${PIP_FIND_LINKS:-} UV_DEFAULT_INDEX=${PIP_INDEX_URL:-${UV_DEFAULT_INDEX:-https://pypi.org/simple}} \
        UV_INDEX=${PIP_EXTRA_INDEX_URL:-${UV_INDEX:-}} UV_INDEX_STRATEGY=unsafe-best-match \
        .venv/bin/uv pip install -q --compile-bytecode --python .venv/bin/python -r "$lock"
}
with_uv ||
    .venv/bin/python -m pip install --disable-pip-version-check --no-input -q -r "$lock" ||
    die "neither uv nor pip could install $lock; read the messages above, check the package index and run this again"
install_scbind
# memelite (Tomtom) is compiled when it is first used. Here it is done once; two jobs of a run would do it twice. numba
# keeps the result beside the modules of memelite, where every run with this .venv finds it.
echo "compiling the comparison of motifs (a minute)"
.venv/bin/python - <<'END' || die "the comparison of motifs cannot be compiled; read the messages above"
import numpy as np
from scbind.discovery.nearest import nearest_known
from scbind.formats.motiffiles import Matrix
from scbind.formats.motifs import log_odds

counts = np.full((4, 8), 1) + 9 * np.tile(np.eye(4, dtype=int), 2)
nearest_known([log_odds(counts)], [None], [Matrix("TF", f"M{i}", counts) for i in range(50)])
END
cp "$lock" "$stamp"
