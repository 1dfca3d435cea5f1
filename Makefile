# Run `make` for help. Every target is a line or two; logic lives in Python or in tests/cluster/bed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_HOME := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/submodel-dev/uv
UV := $(or $(shell command -v uv 2>/dev/null),$(UV_HOME)/bin/uv)

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV_HOME)/bin/uv:
	$(PYTHON) -m venv $(UV_HOME) && $(UV_HOME)/bin/python -m pip install --quiet 'uv>=0.9'

$(VENV)/.ready: uv.lock pyproject.toml operator/pyproject.toml runtime/pyproject.toml | $(UV)
	$(UV) sync --frozen --python $(PYTHON)
	@touch $@

.PHONY: setup
setup: $(VENV)/.ready ## Create .venv from uv.lock (uv is fetched when it is missing)
