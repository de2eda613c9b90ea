# Everything runs in .venv, with the exact versions of constraints.txt. `make install` is implied and safe to repeat.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := nim_dataset training evaluation benchmarks scripts tests
QUICKSTART_SETS := quickstart:eval quickstart:cheat_consistent quickstart:counter_cheat quickstart:neutral quickstart:unseen_names

STUDIES := $(wildcard configs/studies/*.yaml)
WORKERS ?= 2

.PHONY: help install quickstart microscope studies test test-all lint format bench

help:
	@echo "make quickstart  train, evaluate and report on a laptop CPU, in about three minutes"
	@echo "make microscope  what goes on inside that model, at six of its checkpoints, in under a minute more"
	@echo "make studies     all of configs/studies at the laptop's scale; each continues where it was, WORKERS=2 runs at a time"
	@echo "make test        lint, types and tests"
	@echo "make test-all    the same with the slow proofs"
	@echo "make lint        ruff, mypy and import-linter alone"
	@echo "make format      rewrite the code in the project's format"
	@echo "make bench       all benchmarks, each beside the plain recipe"
	@echo "make install     .venv with the tested versions"

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv --without-pip .venv # Debian's Python has no ensurepip
	$(PYTHON) -m pip --python $(BIN)/python install -qq pip
	@echo "Installing the tested versions into .venv (a few minutes) ..."
	$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[test]'
	@touch $@

quickstart: install
	$(BIN)/nim-train --config configs/quickstart.yaml --resume_from_checkpoint auto
	$(BIN)/nim-sweep --checkpoints-dir runs/quickstart --datasets $(QUICKSTART_SETS) --output reports/quickstart

microscope: install
	test -f reports/quickstart/index.html || $(MAKE) quickstart
	$(BIN)/nim-sweep --checkpoints-dir runs/quickstart --datasets quickstart:eval quickstart:counter_cheat --measures probe patch lens --steps 50 100 150 200 300 600 --output reports/quickstart

studies: install
	for study in $(STUDIES); do $(BIN)/python -m training.study $$study --workers $(WORKERS) || failed=1; done; exit $${failed:-0}

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-all: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports --no-logo

format: install
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: install
	$(BIN)/python benchmarks/generate_rows.py
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/predictions.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/objectives.py
	test -f reports/quickstart/index.html || $(MAKE) quickstart
	$(BIN)/python benchmarks/report.py reports/quickstart
