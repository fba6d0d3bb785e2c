#!/usr/bin/env bash
# Measure everything that runs on a GPU: are the numbers right, how fast, how large. Ten minutes, one command.
#
#   python benchmarks/gpu_prepare.py       # once, where scbind is installed: data to take along
#   python benchmarks/gpu_wheels.py        # once, there too: packages that the GPU machine lacks
#   benchmarks/gpu.sh                      # on the GPU machine; no network, no Snakemake
#
# The GPU machine needs Python 3.12 with torch, pytorch-lightning, numpy, pandas, scipy and scikit-learn. Tables and the
# log go to $OUT, or to benchmarks/gpu/. Without a GPU it is a rehearsal: the CPU stands in for it.
# Options are those of `benchmarks/gpu.py --help`: --small, --steps ..., --minutes.
# PYTHON, WHEELS and DATA name the interpreter, the folder of wheels and the data.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
wheels=${WHEELS:-.whl}
data=${DATA:-benchmarks/gpu-data.tar.xz}
export OUT=${OUT:-benchmarks/gpu}
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}

[ -e "$data" ] || { echo "ERROR $data: no such file; make it with: python benchmarks/gpu_prepare.py" >&2; exit 1; }
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if compgen -G "$wheels/*.whl" >/dev/null; then
    "$python" -m pip install -q --disable-pip-version-check --no-index --no-deps --no-compile --no-cache-dir \
        --target "$site/packages" "$wheels"/*.whl
    export PYTHONPATH="$site/packages${PYTHONPATH:+:$PYTHONPATH}"
fi
"$python" benchmarks/gpu.py "$data" "$@"
