# Everything runs from .venv, which the first target that needs it makes from a lock with hashes. Nothing is resolved
# at installation: the locks are complete, pip installs them as they are, and `pip check` then looks whether all fits.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
LOCKED := install --quiet --no-deps --require-hashes --only-binary :all: -r

.DEFAULT_GOAL := help
.PHONY: help install demo test test-faults test-alerts check format bench schemas release-schemas lock clean

help: ## show this help
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; found $$($(PYTHON) --version). Say which with: make PYTHON=python3.12 ..."; exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "installing what sluicegate needs (requirements.lock)"
	@$(PIP) $(LOCKED) requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@$(PIP) check --quiet
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "installing what its tests and checks need (requirements-dev.lock)"
	@$(PIP) $(LOCKED) requirements-dev.lock
	@$(PIP) check --quiet
	@touch $@

install: $(VENV)/.runtime ## set up .venv; `.venv/bin/sluicegate --help` then works

demo: $(VENV)/.runtime ## real billing decisions through the gate on a real Kafka, about a minute
	@$(BIN)/sluicegate demo

test: $(VENV)/.dev ## the default test suite, on a real Kafka
	@$(BIN)/python -m pytest -q -n 4 --dist loadfile

test-faults: $(VENV)/.dev ## kills, freezes, rebalances, broker restarts, judged by `sluicegate audit`
	@$(BIN)/python -m pytest -q -m faults --timeout 1500 tests/faults

test-alerts: ## the alert rules and their tests, with promtool (of Debian's package prometheus, or Go builds it once)
	@deploy/alerts/test.sh

check: $(VENV)/.dev ## format, lint, types, import direction, generated files and docs up to date
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m schemas.generate --check
	@$(BIN)/python -m pytest -q tests/house

format: $(VENV)/.dev ## put the code into the house format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## measure the pure path by stage, then the worker beside a bare transaction loop (N, ROUNDS)
	@$(BIN)/python -m tests.bench.path
	@$(BIN)/python -m tests.bench

schemas: $(VENV)/.runtime ## write schemas/generated/ from the Structs: JSON Schemas and AsyncAPI
	@$(BIN)/python -m schemas.generate

release-schemas: $(VENV)/.runtime ## make today's schemas the ones that later changes must not break
	@$(BIN)/python -m schemas.generate --release

lock: $(VENV)/bin/python ## resolve the two lock files anew (needs the network)
	@$(PIP) install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml build.in -o requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml --extra plots --group dev -c requirements.lock -o requirements-dev.lock

clean: ## remove .venv, caches and data of local brokers
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis data run
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
