# Everything a newcomer needs, with nothing but python3 (3.11 or newer) on the machine.
# The environment lies in .venv. What requirements.lock names first is there from the first
# command on; what only the tests and the checks need comes with the first of those.

PYTHON ?= python3
PYTEST ?=
BENCH ?=

BIN := .venv/bin
RUNS := .venv/.runs
READY := .venv/.ready
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test lint types bench clean

# The built-in model needs no download: whatever reaches for one here is a mistake.
demo test bench: export HF_HUB_OFFLINE := 1
demo test bench: export TRANSFORMERS_OFFLINE := 1

help: ## List what make can do
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(RUNS) ## Open the playground: talk, vote, and watch the built-in model learn
	@$(BIN)/rapport demo

# A process a core, each computing on one: faster than one process that computes on all.
test: $(READY) ## Run every test; PYTEST="-k gate" passes arguments on
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(PYTEST)

lint: $(READY) ## Check the style with ruff
	@$(BIN)/ruff check .

types: $(READY) ## Check the types with mypy
	@$(BIN)/mypy

bench: $(RUNS) ## Measure the engine and the platforms; BENCH="--channels 1 16" passes arguments to the first
	@$(BIN)/python -m benchmarks.engine $(BENCH)
	@$(BIN)/python -m benchmarks.platforms

clean: ## Remove the environment and the caches; conversations, votes and adapters stay
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build dist
	@find bot learning tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Installing the lock first and the project without dependencies leaves pip nothing to
# choose: no loose range is resolved, and nothing is built in an environment of its own.
$(RUNS): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Rapport needs Python 3.11 or newer; $(PYTHON) is {sys.version.split()[0]}. Try: make PYTHON=python3.12")'
	@echo "Making the environment in .venv"
	@$(PYTHON) -m venv .venv
	@sed '/^# What the figures/,$$d' requirements.lock > .venv/runs.lock
	@echo "Installing $$(grep -c == .venv/runs.lock) packages (PyTorch is large: a few minutes)"
	@$(INSTALL) -r .venv/runs.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $(RUNS)
	@echo "The environment is ready"

$(READY): $(RUNS)
	@echo "Installing what the tests and the checks need besides"
	@$(INSTALL) -r requirements.lock
	@touch $(READY)
