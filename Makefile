# `make` alone lists the targets. Another interpreter: make test PYTHON=python3.13 VENV=.venv313
PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help setup demo run test test-home lint bench train-stop simulate soak size deb test-systemd lock audit clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing: system packages, then the virtual environment
	@PYTHON='$(PYTHON)' VENV='$(VENV)' .ci/setup

demo: setup ## Run the daemon in a simulated kitchen; the recordings land in build/demo
	@$(BIN)/assistant demo $(ARGS)

run: setup ## Run the daemon on this machine's microphone and speaker
	@$(BIN)/assistant run $(ARGS)

test: lint ## Lint, check types, and run all tests
	@PYTHON='$(PYTHON)' VENV='$(VENV)' .ci/setup tests
	@$(BIN)/python -m pytest -n 2 $(ARGS)

test-home: setup ## Install a real Home Assistant into build/, and test the plugin with it
	@$(BIN)/python -m tests.real_home
	@$(BIN)/python -m pytest -m home $(ARGS)

lint: setup ## Check style and types
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: setup ## Measure: wake words, latency, memory, start-up
	@$(BIN)/python -m bench $(ARGS)

train-stop: setup ## Train the word "stop" anew: make train-stop VOICES=folder
	@$(BIN)/python -m bench._stop_training --voices '$(or $(VOICES),build/voices)' $(ARGS)

simulate: setup ## Play a week in a simulated house: make simulate DAYS=7 SEED=1 SEEDS=1
	@$(BIN)/python -m tests.simulation --days $(or $(DAYS),7) --seed $(or $(SEED),1) --seeds $(or $(SEEDS),1) $(ARGS)

size: setup ## Measure the wheel, the installed tree and the exposure of the service
	@$(BIN)/python -m bench.size

deb: ## Build the Debian package of the service, for this architecture and Python
	@systemd/build-deb

test-systemd: setup ## Install, break, upgrade and remove the package under a real systemd (root)
	@$(BIN)/python -m tests.real_systemd

lock: setup ## Lock the service's packages and extras with hashes; ARGS=--upgrade takes new versions
	@$(BIN)/python -m pip install --quiet uv
	@UV='$(BIN)/uv' PYTHON='$(BIN)/python' systemd/lock $(ARGS)

LOCKS := $(wildcard systemd/*.lock systemd/extras/*.lock)
audit: setup ## Ask PyPI for known vulnerabilities of the locked packages
	@$(BIN)/python -m pip install --quiet pip-audit
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip $(LOCKS:%=-r %) $(ARGS)

soak: setup ## Talk to the daemon for an hour in real time and draw its memory: make soak MINUTES=60
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check matplotlib
	@$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),60)

clean: ## Remove what was built; keeps the virtual environment
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	@find assistant bench plugins tests -name __pycache__ -type d -prune -exec rm -rf {} +
