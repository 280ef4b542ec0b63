# Everything a new machine needs: Python 3.11 or 3.12, make and a package registry.
SHELL := /bin/bash
BIN := .venv/bin
READY := .venv/.ready
# The first Python that is new and old enough; `make PYTHON=/path/to/python` overrides it.
FITS := import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	$$p -c "$(FITS)" >/dev/null 2>&1 && echo $$p && break; done)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast check bench bench-dedup quality soak docs openclipart demo-models clean

help:  ## Show these lines
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or 3.12 with venv found; set PYTHON=" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c constraints.txt -e ".[dev]"
	@touch $@

setup: $(READY)  ## Make .venv with the pinned versions

demo: $(READY)  ## Draw, serve, curate, train, sample: the whole way in minutes
	$(BIN)/winnow demo --out runs

test: $(READY)  ## Run all tests, offline
	$(BIN)/python -m pytest

test-fast: $(READY)  ## Run the quick tests only, in under a minute
	$(BIN)/python -m pytest -m "not slow" --timeout 20 --numprocesses logical --dist loadfile

check: $(READY)  ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)  ## Measure the cheap path, fetching, and the whole chain (two hours on 2 cores)
	$(BIN)/python tests/bench/cheap.py
	$(BIN)/python tests/bench/heads.py
	$(BIN)/python tests/bench/fetch.py
	$(BIN)/python tests/bench/chain.py

quality: $(READY)  ## Measure how often the filters are right, into docs/quality.md
	$(BIN)/python tests/quality/run.py

bench-dedup: $(READY)  ## Time the search for copies beside others' on up to 10⁶ rows (30 minutes on 2 cores)
	$(BIN)/python tests/bench/dedup.py

soak: $(READY)  ## A run over 1,000 shards of generated parts: is its memory flat? (15 minutes on 2 cores)
	$(BIN)/python tests/bench/soak.py

docs: $(READY)  ## Write the generated pages of docs/
	$(BIN)/python -m pipeline.shell.reference docs

openclipart: $(READY)  ## Curate Debian's 8,000 openclipart pictures: real data
	$(BIN)/python -m pipeline.demo.openclipart --out openclipart --run

demo-models: export OMP_WAIT_POLICY = PASSIVE
demo-models: $(READY)  ## Train winnow-tiny and winnow-base anew (about two hours on 2 cores)
	$(BIN)/python -m train.demo.clip --out pipeline/models/data/winnow-tiny --seed 0
	$(BIN)/python -m train.demo.base --out train/data/winnow-base --seed 0

clean:  ## Remove runs and caches, not .venv
	rm -rf runs openclipart .pytest_cache .mypy_cache .ruff_cache .hypothesis
