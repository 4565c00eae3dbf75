# cascade-rl. `make help` lists the targets; everything runs in .venv, made on first use.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO ?= runs/demo
WORKERS ?= 2

# Spinning OpenMP threads starve the verifier processes beside them.
export OMP_WAIT_POLICY = PASSIVE
export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE ?= 1

.DEFAULT_GOAL := help
.PHONY: help install install-verl install-bench demo test test-verl test-vllm slow check fix bench docs clean \
  accept-learning accept-conflict accept-audit accept-audit-peers accept-decontaminate \
  accept-strength accept-verifiers accept-engine accept-overlap accept-switches accept-eval

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

install: $(INSTALLED) ## make .venv with everything but verl

# torch first, and by the pip that comes with Python: the newer pip is for the resolver's sake.
KERNELS := $(wildcard src/cascade_rl/data/decontaminate/*.c src/cascade_rl/engines/local/*.[ch])
$(INSTALLED): pyproject.toml setup.py $(KERNELS) constraints/core.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $$($(PYTHON) --version) is too old; expected Python 3.11 or newer."; \
	    echo "  name one:  make $(MAKECMDGOALS) PYTHON=python3.11"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints/core.txt torch
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints/core.txt --editable ".[dev]"
	touch $@

$(VENV)/.installed-verl: $(INSTALLED) constraints/verl.txt
	$(BIN)/python -m pip install --quiet --constraint constraints/verl.txt --editable ".[dev,verl,lora,int8]"
	touch $@

install-verl: $(VENV)/.installed-verl ## add verl and Ray to .venv

.venv-bench/.installed: constraints/bench.txt
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --constraint constraints/bench.txt torch
	.venv-bench/bin/python -m pip install --quiet --upgrade pip
	.venv-bench/bin/python -m pip install --quiet --constraint constraints/bench.txt \
	  trl "math-verify[antlr4_9_3]" langdetect immutabledict nltk
	.venv-bench/bin/python -m pip install --quiet --constraint constraints/bench.txt \
	  --no-deps verl lm-eval
	touch $@

install-bench: .venv-bench/.installed ## the peers that benchmarks run beside us, in .venv-bench

.venv-vllm/.installed: pyproject.toml constraints/verl.txt constraints/vllm.txt
	test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --constraint constraints/verl.txt torch
	.venv-vllm/bin/python -m pip install --quiet --upgrade pip
	.venv-vllm/bin/python -m pip install --quiet --constraint constraints/verl.txt --editable ".[dev,verl]"
	.venv-vllm/bin/python -m pip install --quiet --no-deps --requirement constraints/vllm.txt
	touch $@

test-vllm: .venv-vllm/.installed ## the tests of sampling with vLLM, alone and in verl, on its CPU build
	.venv-vllm/bin/pytest tests/engines/test_vllm.py tests/engines/verl/test_vllm_rollout.py

demo: install ## train the mini cascade into runs/demo, print its ledger and report
	$(BIN)/cascade run mini --output $(DEMO)
	$(BIN)/cascade ledger $(DEMO)
	$(BIN)/cascade report $(DEMO)

test: check ## everything that must hold, in minutes
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not slow and not verl"

test-verl: install-verl ## the cluster engine's tests, on CPU
	$(BIN)/pytest tests/engines/verl tests/engines/test_against_verl.py tests/engines/test_training.py \
	  tests/recipe/test_on_verl.py -m "not slow"

slow: install ## the tests that take long
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m slow --timeout 3600

check: install ## format, lint, types, floors and budgets
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/structure

fix: install ## format, and repair what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

accept-learning: install ## what the mini cascade teaches, three seeds, one look at test
	$(BIN)/python -m benchmarks.learning

accept-conflict: install ## forgetting is flagged where there is some, and only there
	$(BIN)/python -m benchmarks.conflict

accept-audit: install ## attacks on our own verifiers, in every tier, as root and as a user
	$(BIN)/python -m benchmarks.audit_self

accept-strength: install ## weakened tests of MBPP and HumanEval are told from the originals
	$(BIN)/python -m benchmarks.strength

accept-decontaminate: install ## planted leaks among 100,000 documents, and the rate
	$(BIN)/python -m benchmarks.decontaminate

accept-verifiers: install install-bench ## rates of the verifiers beside their peers
	$(BIN)/python -m benchmarks.verifiers

accept-engine: install install-bench ## speed of the local engine beside TRL's trainer
	$(BIN)/python -m benchmarks.engine

accept-overlap: install ## what verification adds to a step
	$(BIN)/python -m benchmarks.overlap

accept-eval: install ## known scores come out of cascade eval on real rows, after kills
	$(BIN)/python -m benchmarks.evaluation

accept-switches: install ## what each switch of the recipe is for shows at mini scale
	$(BIN)/python -m benchmarks.switches

accept-audit-peers: install install-bench ## what the audit finds in verl and TRL still shows
	$(BIN)/python -m benchmarks.audit_peers

bench: install ## one benchmark: make bench BENCH=name
	@test -n "$(BENCH)" || { echo "error: no BENCH given; make bench BENCH=name, of:"; \
	  ls benchmarks 2>/dev/null | sed -n 's/\.py$$//p'; exit 2; }
	$(BIN)/python -m benchmarks.$(BENCH)

docs: install ## check that every link and snippet of the documentation holds
	$(BIN)/pytest -q tests/structure/test_docs.py

clean: ## remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
