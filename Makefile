# `make` lists the targets. Each sets up what it needs; only Python 3.11+ (with venv) and a package index are assumed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python

READY := $(VENV)/ready
PROTOC := $(VENV)/protoc
# The compiler is old, so that its code runs on the lowest protobuf that setup.cfg allows.
PROTOC_READY := $(PROTOC)/ready
PROTOC_TOOLS := grpcio-tools==1.59.5 setuptools<81
OUT := .

.DEFAULT_GOAL := help
.PHONY: help setup run format lint types docs check test engine-go coverage bench crash proto build clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with everything that the other targets need

$(READY): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; try: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@echo "Setting up $(VENV) (once) …"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25'
	@PYTHONWARNINGS=ignore $(PY) -m pip install --quiet --disable-pip-version-check --editable '.[test,docs,bench]'
	@touch $@

run: $(READY) ## run the main job: hash this repository's files, surviving a kill half-way
	@$(PY) examples/hash_this_repository.py

format: $(READY) ## format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(READY) ## check format, lint, import contracts, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell

types: $(READY) ## check types
	$(BIN)/mypy

docs: $(READY) ## build the documentation into docs/_build, warnings being errors
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build

check: lint types docs ## everything that is checked without running the tests, and the house rules
	$(PY) -m pytest -q -p no:randomly tests/test_house_rules.py

test: $(READY) ## run all tests (T= selects: make test T=tests/unit)
	$(PY) -m pytest -n 2 --dist loadgroup --max-worker-restart 0 $(T)

engine-go: ## build the durabletask-go sidecar, for the tests in tests/interop, where there is Go
	@if command -v go >/dev/null; then \
	  mkdir -p $(VENV)/engines && cd tests/interop/sidecar && \
	  go build -o $(CURDIR)/$(VENV)/engines/durabletask-go github.com/microsoft/durabletask-go; \
	else echo "There is no Go toolchain here; the tests that need the sidecar will be skipped."; fi

coverage: $(READY) ## which branches the unit tests and the engine's tests take
	$(BIN)/coverage run -m pytest -q tests/unit tests/engine
	$(BIN)/coverage report

bench: $(READY) ## measure us, our peers and the machine side by side
	$(PY) -m benchmarks

crash: $(READY) ## kill the owner of a task hub 200 times and prove that nothing is lost
	$(PY) tests/crash/run.py --kills 200

proto: $(PROTOC_READY) ## generate durableflow/_proto from protos/
	$(PROTOC)/bin/python -m grpc_tools.protoc -Idurableflow/_proto=protos --python_out=$(OUT) --pyi_out=$(OUT) protos/*.proto

$(PROTOC_READY): Makefile
	@$(PYTHON) -m venv $(PROTOC)
	@$(PROTOC)/bin/python -m pip install --quiet --disable-pip-version-check $(foreach tool,$(PROTOC_TOOLS),'$(tool)')
	@touch $@

build: $(READY) ## build wheels and sdists of both distributions into dist/
	$(PY) -m build --outdir dist .
	$(PY) -m build --outdir dist durableflow_blob

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist docs/_build durableflow_blob/build *.egg-info durableflow_blob/*.egg-info
