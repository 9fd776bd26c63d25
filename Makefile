# distillkit. `make` prints this help.
BIN := .venv/bin
DEMO := $(if $(QUICK),_quick)

.DEFAULT_GOAL := help
.PHONY: help setup test test-all check format reproduce-dimefm bench clean

help: ## print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' Makefile

setup: .venv/.ready ## make .venv with everything in it (only when pyproject.toml has changed)

.venv/.ready: pyproject.toml .ci/setup
	@bash .ci/setup

reproduce-dimefm: setup ## teacher, student, baseline and report on the embedded demo (QUICK=1: a two-minute look)
	$(BIN)/distillkit data prepare demo $(if $(QUICK),--quick)
	$(BIN)/distillkit extract-teacher pipelines/extract/demo$(DEMO).toml
	$(BIN)/distillkit train-student pipelines/demo/dime_fm$(DEMO).toml
	$(BIN)/distillkit evaluate runs/dime_fm$(DEMO)

test: setup ## the tests, without the slow ones
	$(BIN)/python -m pytest

test-all: setup ## every test
	$(BIN)/python -m pytest -m "not gpu"

check: setup ## formatter, linter, type checker, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## mend what formatter and linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## speed, as ratios measured side by side in one run
	$(BIN)/python -m tests.bench

clean: ## remove stores and runs of this checkout (not the prepared corpora)
	rm -rf stores runs
