.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.wavescore-ready
PORT ?= 8000
LAB_OPTIONS ?=
CHAPTER ?=
NBVAL := --nbval-lax --nbval-current-env --nbval-cell-timeout=300
WORKERS := -n auto --dist loadfile

# As root, for instance in a container, JupyterLab starts only if it is told to.
ALLOW_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

# Records are written by `make notebooks` alone.
unexport WAVESCORE_RECORD

# The way that sympy takes depends on the order of sets; one order, so that what passes once passes again.
export PYTHONHASHSEED := 0

.PHONY: help setup book preview serve lab assignments test test-package test-notebooks notebooks lint clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## the environment in .venv, from the pins; once, and again when they change

$(READY): requirements.txt pyproject.toml
	@rm -f $@
	@$(RUN) -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
			echo "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) --version 2>&1 | head -n 1)." \
				"Name another one: make PYTHON=python3.12" >&2; exit 1; }; \
		$(PYTHON) -m venv --clear $(VENV); }
	$(RUN) -m pip install --disable-pip-version-check -r requirements.txt
	$(RUN) -m pip install --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

book: $(READY) ## run the chapters (copies of them) on the data at hand and build the site
	@$(RUN) -m tools.build --execute

preview: $(READY) ## build the site from the committed outputs; runs nothing
	@$(RUN) -m tools.build

serve: $(READY) ## show the built site in a browser, at http://localhost:PORT
	@$(RUN) -m tools.serve $(PORT)

lab: $(READY) ## open the chapters in JupyterLab (LAB_OPTIONS="--no-browser --port=8889": with its options)
	@$(RUN) -m jupyterlab --notebook-dir=book $(ALLOW_ROOT) $(LAB_OPTIONS)

assignments: $(READY) ## the problem sets as students get them: assignments/release/
	@$(RUN) -m assignments.make

test: test-package test-notebooks ## everything that tests

test-package: $(READY) ## the package, the tools, the guards and the site
	$(RUN) -m pytest $(WORKERS) tests wavescore_lite --doctest-modules

test-notebooks: $(READY) ## run every chapter and compare its checked cells
	$(RUN) -m pytest $(WORKERS) $(NBVAL) $$($(RUN) -m tools.notebooks)

notebooks: $(READY) ## run stale chapters in place, on MNIST, and record their numbers (CHAPTER=name: that one; CHAPTER=all: all)
	@$(RUN) -m tools.execute $(CHAPTER)

lint: $(READY) ## form and types: ruff on code and chapters, mypy on code
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

clean: ## remove what was built; .venv stays
	rm -rf _build assignments/release build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -path ./$(VENV) -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -print \
		| xargs rm -rf
