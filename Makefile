# make demo | demo-full | demo-cohort | test | test-designs | test-kills | test-reruns | test-slurm | lint | format | lock | docs | docs-reference | clean
# Use more cores: CORES=4 make demo
SHELL := /bin/bash
.DEFAULT_GOAL := help
CORES ?= 2
DEMO := --configfile config/demo/config.yaml
# The jobs of the demo are small: side by side, with one thread each, they end sooner than one after the other with several.
SMALL := --max-threads 1
# In a terminal, one bar per rule takes the place of a paragraph per job. The log file has all of it.
PROGRESS := $(shell test -t 2 && echo --logger rich)

# Caches of libraries stay inside the checkout. An environment that the user has activated is ignored.
ROOT := $(CURDIR)
export PATH := $(ROOT)/.venv/bin:$(PATH)
export XDG_CACHE_HOME := $(ROOT)/.venv/cache
export MPLCONFIGDIR := $(ROOT)/.venv/cache/matplotlib
export PYTHONNOUSERSITE := 1
# Settings of the user must not reach the Python of .venv.
unexport PYTHONPATH
unexport PYTHONHOME

.PHONY: help env demo demo-full demo-cohort test test-designs test-kills test-reruns test-slurm lint format lock docs docs-reference clean

help:
	@echo "make env     install scbind into .venv"
	@echo "make demo    run the whole workflow on a small simulated atlas (the demo)"
	@echo "make demo-full  the same, but score scfan on all test windows (takes about twice as long)"
	@echo "make demo-cohort  analyse a simulated cohort of six donors with the demo's model"
	@echo "make test    run the checks and tests"
	@echo "make test-designs, test-kills, test-reruns, test-slurm  the slow tests, which make test leaves out"
	@echo "make lint    run only the format and lint checks"
	@echo "make format  reformat the source files"
	@echo "make lock    write envs/requirements.lock from .venv"
	@echo "make docs    build the documentation site in site/"
	@echo "make docs-reference  write docs/reference/configuration.md from the schemas"
	@echo "make clean   remove results, logs and the generated demo data (not .venv, not downloads)"

# Without XDG_CACHE_HOME, pip uses the cache of the user.
env:
	@XDG_CACHE_HOME= envs/setup.sh
	@$(if $(filter env,$(MAKECMDGOALS)),echo "scbind is installed. Next: make demo",:)

demo: env
	snakemake --cores $(CORES) $(SMALL) $(PROGRESS) $(DEMO)
	@echo "The report is in $(ROOT)/results/report.html"

demo-full: env
	snakemake --cores $(CORES) $(PROGRESS) $(DEMO) config/demo/full.yaml
	@echo "The report is in $(ROOT)/results/report.html"

demo-cohort: env
	snakemake --cores $(CORES) $(SMALL) $(PROGRESS) $(DEMO) config/demo/cohort.yaml
	@echo "The report is in $(ROOT)/results/report.html"

lint: env
	ruff check
	ruff format --check
	snakefmt --check Snakefile workflow
	snakemake --lint $(DEMO)

test-designs: env
	pytest -q -m designs

# Kills a run once in every rule. Takes about half an hour.
test-kills: env
	SCBIND_KILLS=1 pytest -q tests/workflow/test_designs.py -k killed_in_every_rule

test-reruns: env
	pytest -q -m reruns

# As root, with the Debian packages slurm-wlm, slurm-client and munge: the tests start a SLURM of one node.
test-slurm: env
	SCBIND_SLURM=1 pytest -q tests/workflow/test_slurm.py

test: lint
	pytest -q -n $(CORES) --dist loadfile -m "not demo"
	pytest -q -n $(CORES) --dist loadfile -m "demo and not designs and not reruns"

format: env
	ruff check --fix
	ruff format
	snakefmt Snakefile workflow

lock:
	@{ echo "# Everything that envs/requirements.txt brings, pinned; made by 'make lock', installed by envs/setup.sh."; \
	  .venv/bin/python -m pip freeze --disable-pip-version-check --exclude-editable --exclude uv | sed -E 's/^(torch==[^+]*)\+.*/\1/'; } > envs/requirements.lock

docs: .venv-docs/done
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

.venv-docs/done: docs/requirements.txt
	python3 -m venv .venv-docs
	.venv-docs/bin/python -m pip install --disable-pip-version-check -q -r docs/requirements.txt
	touch $@

docs-reference: env
	cd workflow && python -m scbind.plan.configpage > ../docs/reference/configuration.md

clean:
	rm -rf .snakemake logs site benchmarks/gpu resources/demo resources/cohort .pytest_cache .ruff_cache
	find results -mindepth 1 ! -path results/README.md -delete
	find workflow tests -name __pycache__ -prune -exec rm -rf {} +
