# `make demo`, `make test` and `make check` set up all they need in .venv; Python 3.11 or later and
# make must be there. Choose another Python with `make PYTHON=python3.13 demo`.

PYTHON ?= python3
VENV ?= .venv
PORT_VENV ?= .venv-port
CONSTRAINTS ?= constraints.txt
TEST_PROCESSES ?= 2
PYTEST_ARGS ?=

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
PORT_BIN := $(PORT_VENV)/Scripts
else
BIN := $(VENV)/bin
PORT_BIN := $(PORT_VENV)/bin
endif
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c $(CONSTRAINTS)

.PHONY: help demo test check test-oldest test-newest docs browser browser-tools picture bench bench-full bench-port

help:
	@echo "make demo         install into $(VENV) and make a song with the built-in model"
	@echo "make test         install into $(VENV) and run the tests"
	@echo "make check        formatting, lint and types"
	@echo "make test-oldest  the tests with the oldest supported versions of everything"
	@echo "make test-newest  the tests with the newest releases of everything"
	@echo "make browser      the stories of the studio's page; needs chromium, or JUKEBOX_BROWSER=PROGRAM"
	@echo "make picture      the picture of the studio's page that the README shows, anew"
	@echo "make docs         the guide and the API reference, as pages, into docs/"
	@echo "make bench        benchmarks that fit in ten CPU minutes; bench-full: all of them"
	@echo "make bench-port   the same models here and in transformers 4.57.6, side by side"

demo: $(VENV)/installed
	$(BIN)/jukebox generate --genre strings

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist worksteal --timeout 600 $(PYTEST_ARGS)

check: $(VENV)/installed-dev
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy

test-oldest:
	$(MAKE) test VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt

# Whatever is newest, within what setup.py allows: nothing is held back but by an empty file.
test-newest:
	$(MAKE) test VENV=.venv-newest CONSTRAINTS=constraints-newest.txt

docs: $(VENV)/installed-dev
	$(BIN)/python -m model_cards.guide.build docs

browser: browser-tools
	$(BIN)/python -m pytest -q -m browser $(PYTEST_ARGS)

picture: browser-tools
	$(BIN)/python -m tests.cli.studio.picture

browser-tools: $(VENV)/installed-dev
	$(INSTALL) -e ".[dev,browser]"

# One thread, as the targets are meant. Results go to bench-*.json beside what is printed.
bench: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.bench --json bench.json

bench-full: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.bench --full --json bench-full.json

bench-port: $(VENV)/installed-dev $(PORT_VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.port --compiled bfloat16 int4 --json bench-port.json \
		--port-python $(abspath $(PORT_BIN))/python

$(PORT_VENV)/installed:
	$(PYTHON) -m venv $(PORT_VENV)
	$(PORT_BIN)/python -m pip install --quiet --disable-pip-version-check torch \
		transformers==4.57.6
	@touch $@

# Stamp files: an environment is brought up to date when what it was made from has changed.
# torch comes first and by itself, so that nothing else decides which build of it is taken.
$(VENV)/installed: setup.py pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else f"jukebox_hf needs Python 3.11 or later, but $(PYTHON) is {sys.version.split()[0]}; run: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(INSTALL) -e ".[dev]"
	@touch $@
