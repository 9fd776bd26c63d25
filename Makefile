# distillkit. `make` prints this help.
BIN := .venv/bin
DEMO := $(if $(QUICK),_quick)

.DEFAULT_GOAL := help
.PHONY: help setup test test-long test-all reliability check format reproduce-dimefm reproduce-clipkd reproduce-tinyclip \
	reproduce-proteus reproduce-ood reproduce-all bench bench-peers bench-gpu gpu-once test-gpu test-web clean

help: ## print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' Makefile

setup: .venv/.ready ## make .venv with everything in it (only when pyproject.toml has changed)

.venv/.ready: pyproject.toml .ci/setup
	@bash .ci/setup

# The demo's corpora and what its teacher said of those that are read; a student, and what it can do.
STORES = $(BIN)/distillkit data prepare demo $(if $(QUICK),--quick) && $(EXTRACT)/demo$(DEMO).toml $(patsubst %,--only %,$(1))
EXTRACT = $(BIN)/distillkit extract-teacher pipelines/extract
TRAIN = $(BIN)/distillkit train-student pipelines/demo/$(1)$(DEMO).toml
STUDENT = $(TRAIN) && $(BIN)/distillkit evaluate runs/$(1)$(DEMO)
# Is the student better than its baseline? On the same images, in pairs.
COMPARE = $(BIN)/distillkit compare runs/$(1)$(DEMO)/baseline runs/$(1)$(DEMO)

# What a paper claims, judged over seeds; SCALE=paper tells the plan at the paper's size, and begins where all is there.
CLAIMS = $(BIN)/distillkit claims $(if $(QUICK),--quick) $(if $(PLAN),--plan) $(if $(SCALE),--scale $(SCALE))
claims-%: setup
	$(CLAIMS) pipelines/claims/$*.toml

reproduce-all: setup ## the claims of all five papers over seeds: hours (PLAN=1 says how many; QUICK=1: minutes)
	$(CLAIMS) pipelines/claims/*.toml
	$(if $(QUICK)$(PLAN)$(SCALE),,$(BIN)/distillkit claims --write docs/results.md --headline README.md --headline docs/choosing.md pipelines/claims benchmarks/results/claims)

ifneq ($(SCALE),paper)
reproduce-dimefm: setup ## teacher, student, baseline and report on the embedded demo (QUICK=1: a look of some minutes)
	$(call STORES,images restyled $(if $(QUICK),texts,some_texts) unseen unseen_restyled prompts)
	$(call STUDENT,dime_fm)
	$(call COMPARE,dime_fm)

reproduce-clipkd: setup ## CLIP-KD in small on the demo: a pair of towers (QUICK=1 as above, here and below)
	$(call STORES,images unseen)
	$(call STUDENT,clip_kd)

reproduce-tinyclip: reproduce-clipkd ## TinyCLIP in small: parts of CLIP-KD's pair, by hand and by masks
	$(call STUDENT,tinyclip_manual)
	$(call TRAIN,tinyclip_auto) && $(call STUDENT,tinyclip_auto_fused)

reproduce-proteus: setup ## Proteus in small: tokens of a ViT that is made from the demo's teacher first
	$(call STORES,images texts) && $(call TRAIN,proteus_teacher) && $(EXTRACT)/demo_tokens$(DEMO).toml
	$(call STUDENT,proteus)
	$(call STUDENT,proteus_clip)

reproduce-ood: setup ## OOD in small: classes seen and never seen
	$(call STORES,images unseen prompts) && $(EXTRACT)/demo_classes$(DEMO).toml
	$(call STUDENT,ood)
else
reproduce-dimefm reproduce-clipkd reproduce-tinyclip reproduce-proteus reproduce-ood: reproduce-%: claims-%
endif

test: setup ## the tests, without the long and the slow ones
	$(BIN)/python -m pytest

test-long: setup ## the tests that take ten seconds or more, but not minutes; CI runs both
	$(BIN)/python -m pytest -m "long and not slow and not gpu"

test-all: setup ## every test
	$(BIN)/python -m pytest -m "not gpu"

reliability: setup ## power cuts, failing calls, models, many writers, hostile bytes, fuzzing for an hour (MINUTES=n); resumes
	$(BIN)/python -m tests.faults $(or $(MINUTES),60)

test-gpu: setup ## the tests that need CUDA
	$(BIN)/python -m pytest -m gpu -n 0

test-web: setup ## the page of `export --to web`, under Node and in headless Chromium; fetches onnxruntime-web from npm
	@for name in node npm; do command -v $$name >/dev/null || { echo "test-web: $$name is not here; install Node 20"; exit 1; }; done
	@[ -d .venv/web/package ] || { mkdir -p .venv/web && cd .venv/web && npm pack --silent onnxruntime-web && tar xzf *.tgz; }
	ONNXRUNTIME_WEB=.venv/web/package $(BIN)/python -m pytest -n 0 tests/exports/test_web.py

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

bench-gpu: setup ## the same on a GPU
	$(BIN)/python -m tests.bench --gpu

gpu-once: ## ten minutes with a GPU, by what the machine has: OUT=folder WHEELS=folder PYTHON=python3
	@PYTHON=$(or $(PYTHON),python3) benchmarks/gpu_once.sh $(or $(OUT),gpu-once)

bench-peers: setup ## environments of their own for peers that cannot lie in .venv; bench uses what is there
	@bash benchmarks/peers/setup.sh

clean: ## remove stores and runs of this checkout (not the prepared corpora)
	rm -rf stores runs
