# Tocsin: `make help` lists what there is. Only Python 3.11 or newer is needed beforehand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=
# Three processes, also on two processors: the shared platform, platforms of a test's own, and what needs none. The
# first two mostly wait (tests/conftest.py makes the groups).
BESIDE := --numprocesses 3

.DEFAULT_GOAL := help
.PHONY: help install run test lint audit format bench lock clean

help: ## show this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## create .venv and install everything, if that is not done yet

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "tocsin: Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "tocsin: installing into $(VENV) (once; about a minute on a fast line)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)
	@echo "tocsin: installed"

run: $(STAMP) ## start the whole platform with the demo partners; ARGS="--help" lists options
	@$(BIN)/tocsin up $(ARGS)

# Tests start some two hundred processes: each reads what the first has compiled, whatever the shell has set.
test: $(STAMP) ## run every test; ARGS="tests/processors -k window" narrows it
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest $(or $(ARGS),$(BESIDE))

lint: $(STAMP) ## format check, lint and strict types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

audit: $(STAMP) ## known vulnerabilities of the locked packages; says so when nobody can be asked
	@$(BIN)/python -m deploy.audit requirements.lock

format: $(STAMP) ## format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(STAMP) ## measure throughput beside a plain Faust agent; ARGS="--events 500000 --rules 100"
	@$(BIN)/tocsin bench $(ARGS)

COMPILE := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
  --no-header --no-emit-index-url --no-annotate --quiet

lock: ## make requirements.lock anew from pyproject.toml, and from it the part that servers get
	@$(COMPILE) --extra dev --output-file requirements.lock
	@$(COMPILE) --constraints requirements.lock --output-file deploy/requirements.lock

clean: ## remove the environment and caches; data in .tocsin stays
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
