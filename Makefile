# Each verb sets up what it needs, from nothing: .venv for Python, node_modules for the front end's tools.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
READY := .venv/.ready
OLD := .venv-oldest/bin
OLD_READY := .venv-oldest/.ready
# The system's certificates first, as pip and npm take them (a proxy may have its own); uv's own where there are none.
install = { $(BIN)/uv pip install --quiet --system-certs $(1) || $(BIN)/uv pip install --quiet $(1); }
PARTS := --editable '.[frames,serve,dask,research,traces]' --group dev
OLDEST := ipykernel==6.29.5 crewai==1.15.29
NEW := .venv-newest/bin
WORKERS ?= 2
RERUNS ?= 0
# In their own order: the small unit tests come last, so that no worker is left alone with a long file.
# Browsers by themselves: while Playwright's synchronous API is open, no other event loop can run in its process.
PYTEST := -m pytest -p tests.support.no_skips -n $(WORKERS) --dist loadfile --no-loadscope-reorder --reruns $(RERUNS) --rerun-show-tracebacks

help:  ## Say what can be made.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: $(READY)  ## Run the quickstart in a real kernel and print its joined results; needs no key.
	$(BIN)/python notebooks/run.py notebooks/01_quickstart.ipynb

lab: $(READY)  ## Open JupyterLab on the quickstart.
	$(BIN)/jupyter lab $$([ "$$(id -u)" != 0 ] || echo --allow-root) notebooks/01_quickstart.ipynb

test: chromium lint lint-js  ## All checks and tests; a skipped test is a failed one.
	@echo "== pytest"
	$(BIN)/python $(PYTEST) --ignore=tests/browser
	@echo "== pytest, with a browser"
	$(BIN)/python $(PYTEST) tests/browser

test-oldest: $(OLD_READY)  ## The tests of what meets CrewAI and kernels, on the newest Python here and the oldest of both.
	@echo "== pytest on $$($(OLD)/python --version) with $(OLDEST)"
	$(OLD)/python $(PYTEST) $(addprefix --ignore=tests/,browser dask docs lint notebooks/test_recorded_notebook.py faults/test_killed_sweep.py $(addprefix unit/,board project scores)) --rounds=2

canary: $(READY)  ## The suite's core on the newest CrewAI that the registry has, to know what has moved.
	test -x $(NEW)/python || "$$(.ci/python 3.13 3.12 3.11)" -m venv .venv-newest
	$(call install,--python $(NEW)/python --upgrade-package crewai $(PARTS))
	@echo "== pytest on CrewAI $$($(NEW)/python -c 'from importlib.metadata import version; print(version("crewai"))')"
	$(NEW)/python $(PYTEST) tests/engine tests/conformance tests/unit

lint: $(READY)  ## Style and types of the Python code.
	@echo "== ruff, mypy and import-linter"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests/typing/api.py
	PYTHONPATH=. $(BIN)/lint-imports --no-cache

lint-js: node_modules/.ready  ## Style, types and unit tests of the front end; whether what is shipped is built from it.
	@echo "== eslint, tsc, esbuild and node --test"
	npm run --silent lint
	npm run --silent types
	npm run --silent build -- --check
	npm run --silent test

dist: $(READY)  ## Build sdist and wheel; try the wheel alone on the oldest and newest Python with the lowest and newest dependencies.
	rm -rf dist
	$(BIN)/uv build --quiet --system-certs || $(BIN)/uv build --quiet
	for python in 3.11 3.13; do for versions in lowest-direct highest; do .ci/wheel $$python $$versions; done; done
	@ls dist/*

bench: $(READY)  ## Measure the speedup over running crews one by one.
	$(BIN)/python -m crew_nb.benchmark

soak: $(READY)  ## 10,000 runs against a server with every fault, stopped and killed at random; takes long. SOAK=--runs=500 takes less.
	$(BIN)/python -m tests.support.soak $(SOAK)

screenshots: chromium $(READY)  ## Make the pictures under docs/images anew, of real runs; takes some minutes.
	$(BIN)/python -m tests.support.screenshots

chromium:  ## Find the Chromium or Chrome that the tests drive (CHROMIUM= names one), or bring one.
	@.ci/chromium --bring >/dev/null

docs: $(READY)  ## Build the documentation into site/.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

$(READY): pyproject.toml
	@echo "== .venv"
	test -x $(BIN)/python || "$$(.ci/python 3.11 3.12 3.13)" -m venv .venv \
	  || { echo "Python 3.11, 3.12 or 3.13 with its venv module is needed (Debian: apt-get install python3-venv)" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(call install,--python $(BIN)/python $(PARTS))
	@touch $@

$(OLD_READY): pyproject.toml $(READY)
	@echo "== .venv-oldest"
	test -x $(OLD)/python || "$$(.ci/python 3.13 3.12 3.11)" -m venv .venv-oldest
	$(call install,--python $(OLD)/python $(PARTS) $(OLDEST))
	@touch $@

node_modules/.ready: package.json package-lock.json
	@echo "== node_modules"
	npm ci --silent
	@touch $@

.PHONY: help demo lab test test-oldest canary lint lint-js dist bench soak screenshots chromium docs
