# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo lab up check test test-kernel soak bench packages schema constraints clean system system-check system-bcc system-test

PYTHON := /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The kernel and network namespaces need root.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)
PYTEST := $(AS_ROOT) $(BIN)/python -m pytest
# What uses the kernel runs in one process, all else in the other (tests/conftest.py).
SIDE_BY_SIDE := --numprocesses 2 --dist loadscope
ARGS ?=

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## the whole product in two minutes, on this kernel (root); ARGS=--keep leaves it running
	@$(AS_ROOT) $(BIN)/python -m demo $(ARGS)

lab: $(READY) ## three test hosts as network namespaces (root); ARGS='down' removes them
	@$(AS_ROOT) $(BIN)/python -m lab $(or $(ARGS),up)

up: $(READY) ## nats-server and the four services on this machine (root)
	@$(AS_ROOT) $(BIN)/l3af up $(ARGS)

check: $(READY) system-check ## lint, types, boundaries, licences, unit, property and architecture tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	reuse lint
	$(BIN)/python -m pytest -q tests/unit tests/property tests/architecture $(ARGS)

test: $(READY) system-bcc system-test ## every test: pure ones, real nats-server, real kernel, four processes (root)
	$(PYTEST) $(SIDE_BY_SIDE) $(ARGS)

test-kernel: $(READY) system-bcc ## only what loads programs into this kernel (root)
	$(PYTEST) -m kernel $(ARGS)

soak: $(READY) system-bcc system-test ## the long forms of the seeded tests (root); L3AF_SOAK_SECONDS=600
	$(AS_ROOT) env L3AF_SOAK_SECONDS=$${L3AF_SOAK_SECONDS:-600} $(BIN)/python -m pytest -m soak $(ARGS)

bench: $(READY) system-bcc system-test ## every benchmark, as tables (root)
	@$(AS_ROOT) $(BIN)/python -m benchmarks $(ARGS)

packages: $(READY) ## build the first-party eBPF packages into build/packages
	@mkdir -p build/packages
	@for manifest in packages/*/package.toml; do \
		$(BIN)/l3af package build "$$(dirname "$$manifest")" --out-dir build/packages; done

schema: $(READY) ## write the contract's JSON Schema to docs/schemas and the snapshot
	@$(BIN)/python -m cli.schema

constraints: ## pin the newest libraries anew (needs uv)
	@head -5 constraints.txt >constraints.new
	@uv pip compile pyproject.toml --extra dev --extra parquet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --only-binary :all: --no-header -q >>constraints.new
	@mv constraints.new constraints.txt

clean: ## remove the virtual environment, caches and build results
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

system:
	@deploy/install-system-packages run

system-check:
	@deploy/install-system-packages check

system-bcc:
	@deploy/install-system-packages bcc

system-test:
	@deploy/install-system-packages test

$(READY): constraints.txt pyproject.toml | system
	@echo "l3af-bus: installing libraries into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --only-binary :all: -r constraints.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@
