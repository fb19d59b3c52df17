# Everything runs inside .venv, which `make setup` builds from the pinned constraints.txt.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV_PIN := $(shell grep '^uv==' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help setup demo test results lint format clean

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: $(VENV)/.stamp ## Build the virtual environment (Python 3.11, pinned packages)

$(VENV)/.stamp: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found: install Python 3.11, or name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV_PIN)
	@# Without bytecode every start would compile torch and transformers again.
	$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode -c constraints.txt --build-constraints constraints.txt -e '.[dev,pretrain]'
	@touch $@

demo: setup ## The main job, offline on the CPU: data, inspection, GRPO, inspection again (10 minutes at most)
	$(BIN)/lriad demo

test: setup ## Run the tests
	$(BIN)/python -m pytest

results: setup ## Measure everything in docs/results (a day; goes on where it was stopped; real images: LRIAD_REAL_DATA)
	$(BIN)/lriad pretrain --output runs/pretrain
	$(BIN)/python experiments/eyes.py --run runs/pretrain
	$(BIN)/python experiments/policy.py
	$(BIN)/python experiments/reading.py
	$(BIN)/python experiments/heatmap.py
	$(BIN)/python experiments/ceiling.py
	$(BIN)/python experiments/evidence.py --jobs 2
	[ -d runs/cold-start ] || $(BIN)/python experiments/cold_start.py --output runs/cold-start
	$(BIN)/python experiments/evidence.py --policy runs/cold-start --output runs/cold --results docs/results/cold-start \
		--only "warm start" accuracy paper focal --jobs 2
	@[ -z "$$LRIAD_REAL_DATA" ] || $(BIN)/python experiments/practitioner.py --draws 3
	@[ -z "$$LRIAD_REAL_DATA" ] || $(BIN)/python experiments/memory.py
	@[ -z "$$LRIAD_REAL_DATA" ] || $(BIN)/python experiments/memory.py --tiles
	@[ -z "$$LRIAD_REAL_DATA" ] || $(BIN)/python experiments/station.py

lint: setup ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## Bring the code into the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
