# Run `make` for help. No target is longer than a few lines: logic lives in Python and in tests/cluster/bed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
UV_HOME := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/submodel-dev/uv
UV := $(or $(shell command -v uv 2>/dev/null),$(UV_HOME)/bin/uv)
BED := tests/cluster/bed/bed
EXAMPLE := docs/examples/async-generator
# Twice the two cores that the suite is made for: half of its time is waiting for processes and disks.
PARALLEL := -n 4 --dist loadgroup

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV_HOME)/bin/uv:
	$(PYTHON) -m venv $(UV_HOME) && $(UV_HOME)/bin/python -m pip install --quiet 'uv>=0.13'

.venv/.ready: uv.lock pyproject.toml operator/pyproject.toml runtime/pyproject.toml | $(UV)
	$(UV) sync --quiet --frozen --python $(PYTHON)
	@touch $@

.PHONY: setup
setup: .venv/.ready ## Create .venv from uv.lock (fetches uv when it is missing)

.PHONY: demo
demo: setup ## See it work: one manifest, a job from zero workers and back to zero
	@$(BIN)/python $(EXAMPLE)/demo.py

.PHONY: run
run: setup ## Run the example endpoint on this machine until Ctrl-C
	@$(BIN)/submodel up -f $(EXAMPLE)/endpoint.yaml

.PHONY: check
check: setup ## Lint, format, types, import contracts, lock file
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(UV) lock --check --quiet

.PHONY: test
test: check ## All checks and every quick test that needs no cluster
	$(BIN)/pytest -m 'not cluster and not slow' $(PARALLEL)

.PHONY: test-slow
test-slow: setup ## Crashes, races, peers of other makers: half an hour; ARGS="tests/hostile" for some of it
	$(BIN)/pytest -m 'slow and not cluster' -n 3 --dist loadgroup $(ARGS)

.PHONY: test-pythons
test-pythons: setup ## The handler runtime on Python 3.10 to 3.13, where they are installed
	$(BIN)/python -m tests.pythons $(ARGS)

.PHONY: crash
crash: setup ## Kill a loaded store 200 times, and fill its disk: nothing acknowledged may be lost
	$(BIN)/pytest tests/crash -n 2 --dist loadgroup

.PHONY: fleet
fleet: setup ## Two gateways, one PostgreSQL, 20 workers, 20,000 jobs, kill -9 all along; JOBS=1000
	FLEET_JOBS=$(or $(JOBS),20000) $(BIN)/pytest tests/crash/test_fleet.py -s -n 0

.PHONY: races
races: setup ## Every pair of operations on one job, at once, on the real engines
	$(BIN)/pytest tests/races -n 2 --dist loadgroup

.PHONY: sim
sim: setup ## Simulate a thousand clusters full of faults; SEED=17 replays one of them
	$(BIN)/python -m tests.sim $(SEED)

.PHONY: mutants
mutants: setup ## Plant bugs in the job engine: the tests must find each one; ARGS="--only SQLite"
	$(BIN)/python -m tests.mutants $(ARGS)

.PHONY: properties
properties: setup ## The property tests with fifty times as many examples: half an hour
	$(BIN)/pytest tests/properties -n 2 --hypothesis-profile=nightly

.PHONY: bench-store
bench-store: setup ## What the job store costs beside the bare engine; ARGS="--quick --only throughput"
	$(BIN)/python -m tests.bench.store $(ARGS)

.PHONY: bench-gateway
bench-gateway: setup ## The gateway with real workers beside a bare server; ARGS="--quick --only runsync"
	$(BIN)/python -m tests.bench.gateway $(ARGS)

.PHONY: bench-scaling
bench-scaling: setup ## What a scaling decision costs, and how fast the simulator is
	$(BIN)/python -m tests.bench.scaling

.PHONY: bench-simulator
bench-simulator: setup ## The simulator beside the test cluster with the same jobs (root, Linux); ARGS="--rounds 1"
	$(BED) build && $(BED) up && $(BED) images
	$(BED) exec -- $(BIN)/python -m tests.bench.reality $(ARGS)

.PHONY: bench-simulator-local
bench-simulator-local: setup ## The simulator beside submodel up with the same jobs; ARGS="--rounds 2 --events"
	$(BIN)/python -m tests.bench.reality --local $(ARGS)

.PHONY: study
study: setup ## Compare all scalers on all workloads and write docs/concepts/autoscaler-study.md; ARGS="--fresh --seeds 10"
	$(BIN)/python -m tests.bench.study $(ARGS)

.PHONY: bench-runtime
bench-runtime: setup ## What a worker takes to start, wait and run jobs, beside runpod; ARGS="--quick --only jobs"
	$(BIN)/python -m tests.bench.runtime $(ARGS)

.PHONY: bench-operator
bench-operator: setup ## The operator with 1,000 endpoints on a real API server (root, Linux); ARGS="--endpoints 5000 --quick"
	$(BED) build kwok && $(BED) up
	$(BED) exec -- $(BIN)/python -m tests.bench.operator $(ARGS)

.PHONY: coverage
coverage: setup ## The same tests with branch coverage
	$(BIN)/pytest -m 'not cluster' --cov --cov-report=term

.PHONY: fix
fix: setup ## Format, autofix, and rewrite golden files for review
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .
	UPDATE_GOLDEN=1 $(BIN)/pytest -q tests/golden

.PHONY: manifests
manifests: setup ## Regenerate the CRD (crds/, chart), and the reference pages that are made from the code
	$(BIN)/python -m submodel_operator.api
	$(BIN)/python -m submodel_gateway.metrics >docs/reference/metrics.md
	$(BIN)/python -m tests.requirements
	$(BIN)/python -m submodel_gateway.http
	$(BIN)/python -m tests.chart

.PHONY: cluster-up
cluster-up: ## Start the test cluster: a real Kubernetes on this machine (root, Linux)
	$(BED) build && $(BED) up && $(BED) images

.PHONY: cluster-down
cluster-down: ## End the test cluster and everything in it
	$(BED) down

.PHONY: cluster-shell
cluster-shell: ## A shell inside the test cluster, with kubectl and helm
	$(BED) shell

.PHONY: test-cluster
test-cluster: setup ## Cluster tests, on the test cluster or on the one KUBECONFIG names
	tests/cluster/run

.PHONY: clean
clean: ## Remove .venv and caches of the tools
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .submodel .coverage* dist
