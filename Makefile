# Everything a newcomer needs: `make demo` and `make test`. Both install what they lack into .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo walk test test-all check lint types imports mutate clean

help:
	@echo "make demo      search, retrain and export on the embedded digits (about four minutes on two cores)"
	@echo "make walk      submit to a cluster of two nodes, watch, lose a node and the driver, resume, export (some five minutes)"
	@echo "make test      the test suite (under 15 minutes on two cores)"
	@echo "make test-all  the same, then what is slow or needs servers, then the mutations (under an hour)"
	@echo "make check     lint, types and import rules"
	@echo "make mutate    break the code on purpose; every break must be noticed by its test"

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (once; see README.md for how much that downloads) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "Installing what the tests need ..."
	@$(INSTALL) --editable '.[test]'
	@touch $@

demo: $(VENV)/.installed
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/demo.sh

test: $(VENV)/.installed-test
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow"

walk: $(VENV)/.installed-test
	@$(BIN)/python examples/walk.py --pictures docs/pictures

test-all: check test mutate
	@$(BIN)/python -m pytest -q -m slow

check: lint types imports

lint: $(VENV)/.installed-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	@$(BIN)/mypy
	@$(BIN)/mypy tests benchmarks examples/*.py

imports: $(VENV)/.installed-test
	@$(BIN)/lint-imports --no-logo

mutate: $(VENV)/.installed-test
	@$(BIN)/python tests/mutate.py

clean:
	rm -rf $(VENV) .demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
