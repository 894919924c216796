# onhook: make demo, make test. Needs make and Python >= 3.11 with venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=
# Tests that keep to themselves share the cores; those that need the machine to themselves run after them.
ALONE := wire or chaos or timing

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench soak peers clean

help: ## Show what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/.demo ## Hold a conversation, end calls, prove it; ARGS=--exit leaves afterwards
	@$(BIN)/onhook demo $(ARGS)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Setting up onhook in $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[offline]'
	@touch $@

test: $(STAMP) peers lint ## Set up, check the style and types, run all tests; ARGS="tests/unit -k sdp" runs these
	$(BIN)/python -m pytest $(if $(ARGS),$(ARGS),-n auto --dist worksteal -m "not ($(ALONE))")
	$(if $(ARGS),,$(BIN)/python -m pytest -m "$(ALONE)")
	@$(BIN)/python -m coverage run --include='src/onhook/calls/*' -m pytest -q tests/unit/test_call_*.py tests/unit/test_selector.py >/dev/null
	@$(BIN)/python -m coverage report --fail-under=100 --skip-covered

lint: $(STAMP) ## Style, types, import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

peers: ## Install the far ends that the wire tests call, where that is allowed (CI or ONHOOK_TEST_APT=1)
	@tests/install-peers

bench: $(STAMP) ## Run every benchmark against its gate
	$(BIN)/python -m benchmarks $(ARGS)

soak: $(STAMP) ## A long random run against the sandbox carrier; ARGS="--minutes N"
	$(BIN)/python -m benchmarks.soak $(ARGS)

clean: ## Remove the virtual environments and caches
	rm -rf $(VENV) .peers .mypy_cache .ruff_cache .pytest_cache .hypothesis
