# scbind with its pinned environment: docker build -t scbind .
FROM python:3.11-slim-bookworm

# bedtools is used at run time. macs3 is built from source.
RUN apt-get update \
    && apt-get install -y --no-install-recommends bedtools g++ libc6-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/scbind
COPY envs envs
COPY pyproject.toml README.md LICENSE Snakefile ./
COPY workflow workflow
RUN PYTHON=/usr/local/bin/python3 envs/setup.sh
COPY profiles profiles
COPY resources/models resources/models
COPY config config

# docker run -u gives a user that the image does not know: Snakemake asks for the name. Caches of libraries are written
# where any user may write.
ENV PATH=/opt/scbind/.venv/bin:$PATH
ENV USER=scbind HOME=/tmp XDG_CACHE_HOME=/tmp/cache MPLCONFIGDIR=/tmp/cache/matplotlib NUMBA_CACHE_DIR=/tmp/cache/numba
WORKDIR /data
ENTRYPOINT ["snakemake", "-s", "/opt/scbind/Snakefile"]
CMD ["--cores", "all"]
