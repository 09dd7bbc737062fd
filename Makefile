# One installation (.venv, pinned by constraints.txt) that every target shares.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
MARKET ?= simulated
STATE ?= $(CURDIR)/.state/$(MARKET)
DEMO_DATE ?= 2025-06-03
export DAGSTER_HOME ?= $(CURDIR)
export DAGSTER_DISABLE_TELEMETRY := 1
ifneq ($(wildcard ../shared/data),)
export DEFIYIELD_RECORDED_DATA ?= $(abspath ../shared/data)
endif

.PHONY: install demo ui test test-slow lint bench clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -d $(VENV) || python3 -m venv $(VENV)
	@echo "installing into $(VENV) (pinned by constraints.txt) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install
	@DEFIYIELD_STATE_DIR=$(STATE) $(BIN)/defiyield run --date $(DEMO_DATE) --market $(MARKET)

ui: install
	@mkdir -p $(STATE)
	@DEFIYIELD_STATE_DIR=$(STATE) DEFIYIELD_MARKET=$(MARKET) $(BIN)/dagster dev --workspace workspace.yaml --host 127.0.0.1 --port 3000

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: install
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python -m benchmarks.demo
	$(BIN)/python -m benchmarks.ingestion
	$(BIN)/python -m benchmarks.forecasting
	$(BIN)/python -m benchmarks.ledger
	$(BIN)/python -m benchmarks.allocation
	$(BIN)/python -m benchmarks.policy_backtest
	$(BIN)/python -m benchmarks.features
	$(BIN)/python -m benchmarks.backtesting

clean:
	rm -rf .state
