# The one door: `make run` serves, `make test` tests, `make check` is what CI runs. All live in .venv.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run setup test lint types check fuzz faults overload slow soak bench openapi mathematics client golden clean

VENV := .venv
BIN := $(VENV)/bin
# The newest Python that starts, is 3.11 or later and can make a venv; name another one with PYTHON=...
SUITABLE = import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	"$$p" -c '$(SUITABLE)' >/dev/null 2>&1 && echo "$$p" && break; done)
# A build environment of pip takes the pinned versions too, under the older name and the newer one.
PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check
RUN_READY := $(VENV)/.run-ready
TEST_READY := $(VENV)/.test-ready
PEERS := .venv-peers
PEERS_READY := $(PEERS)/.ready

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile

run: $(RUN_READY) ## serve on HOST (127.0.0.1) and PORT (8000)
	@exec $(BIN)/python -m app

setup: $(TEST_READY) ## install everything, tests included

# The tests start the service over a hundred times; where Python may not write bytecode, each start compiles it anew.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(TEST_READY) ## run the tests, several files at once
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: $(TEST_READY) ## check style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(TEST_READY) ## check the types
	$(BIN)/python -m mypy

check: lint types test ## lint, types and tests

MISTAKES := mistakes no_chance not_asked_for factor
fuzz: $(TEST_READY) ## search long for requests that break something, and for mistakes that are not found
	$(BIN)/python -m pytest tests/fuzz $(MISTAKES:%=tests/engine/test_%.py) --hypothesis-profile=long

faults: $(TEST_READY) ## kill, stop and reset servers under load, twenty times
	FAULT_ROUNDS=20 $(BIN)/python -m pytest tests/test_faults.py

overload: $(TEST_READY) ## ten times the load that one server can answer, and the largest bodies with the memory they take (8 minutes)
	$(BIN)/python -m benchmarks.overload

slow: $(TEST_READY) ## two hundred slow clients of slowhttptest (Debian's package) beside a good one
	$(BIN)/python -m benchmarks.slow

SECONDS ?= 1800
soak: $(TEST_READY) ## a mixed load for SECONDS (1800), and whether anything grows
	$(BIN)/python -m benchmarks.soak $(SECONDS)

bench: $(TEST_READY) $(PEERS_READY) ## measure, and write docs/benchmarks.md; QUICK=1 prints short runs in two minutes
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

openapi: $(TEST_READY) ## write docs/openapi.json anew
	$(BIN)/chainrule openapi >docs/openapi.json

mathematics: $(TEST_READY) ## write docs/mathematics.md anew
	$(BIN)/python -m tests.mathematics

client: $(TEST_READY) ## write a Python and a TypeScript client to clients/ (needs npm for the second)
	PATH="$(abspath $(BIN)):$$PATH" tests/clients/generate.sh python clients/chainrule_client
	tests/clients/generate.sh typescript clients/typescript

golden: $(TEST_READY) ## write the golden files anew (needs torch in .venv)
	$(BIN)/python tests/golden/make.py

clean: ## remove .venv, caches and build output
	rm -rf $(VENV) $(PEERS) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@[ -n "$(PYTHON)" ] && "$(PYTHON)" -c '$(SUITABLE)' || { \
		echo "No Python 3.11 or newer that can make a virtual environment was found."; \
		echo "On Debian and Ubuntu its venv is a package of its own: apt-get install python3-venv"; \
		echo "Or name one: make run PYTHON=/path/to/python3"; exit 1; } >&2
	"$(PYTHON)" -m venv --clear $(VENV)

$(RUN_READY): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(TEST_READY): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[test]'
	@touch $(RUN_READY) $@

# The benchmarks' peers. Where they cannot be installed, the report goes without them and says so.
$(PEERS_READY): benchmarks/peers/requirements.txt benchmarks/peers/constraints.txt
	"$(PYTHON)" -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check \
		-c benchmarks/peers/constraints.txt -r benchmarks/peers/requirements.txt && touch $@ || \
		echo "The peers could not be installed; the benchmarks go on without them." >&2
