# One installation (.venv, pinned by constraints.txt) that every target shares.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
MARKET ?= simulated
STATE ?= $(CURDIR)/.state/$(MARKET)
DEMO_DATE ?= 2025-06-03
DOCS := build/docs
UI_PORT ?= 3000
DOCS_PORT ?= 3001
CONSOLE_PORT ?= 3002
export DAGSTER_HOME ?= $(CURDIR)
export DAGSTER_DISABLE_TELEMETRY := 1
ifneq ($(wildcard ../shared/data),)
export DEFIYIELD_RECORDED_DATA ?= $(abspath ../shared/data)
endif

.PHONY: install demo ui docs docs-links docs-transcript test test-slow test-nightly lint audit fuzz bench clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -d $(VENV) || python3 -m venv $(VENV)
	@echo "installing into $(VENV) (pinned by constraints.txt) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install
	@DEFIYIELD_STATE_DIR=$(STATE) $(BIN)/defiyield demo --date $(DEMO_DATE) --market $(MARKET)

# Runs a command that listens to signals: jobs in the background of a script ignore SIGINT, and dagster dev then SIGTERM, too.
LISTENING := 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])'

# Dagster and the console, and the docs where they are built; what runs beside Dagster ends when it does, however it ends.
ui: install
	@mkdir -p $(STATE)
	@if [ ! -f $(DOCS)/index.html ]; then echo "docs: make docs builds them; then they are served here, too"; \
	elif (exec 3<>/dev/tcp/127.0.0.1/$(DOCS_PORT)) 2>/dev/null; then \
	  echo "docs: port $(DOCS_PORT) is taken, so that they are not served (DOCS_PORT=...)"; \
	else \
	  echo "docs: http://127.0.0.1:$(DOCS_PORT)"; \
	  ($(BIN)/python -m http.server $(DOCS_PORT) --bind 127.0.0.1 --directory $(DOCS) >/dev/null 2>&1 & server=$$!; \
	    tail --pid=$$$$ -f /dev/null; kill $$server 2>/dev/null) </dev/null & \
	fi; \
	export DEFIYIELD_STATE_DIR=$(STATE) DEFIYIELD_MARKET=$(MARKET); \
	export DEFIYIELD_CONSOLE_DAGSTER_URL=$${DEFIYIELD_CONSOLE_DAGSTER_URL:-http://127.0.0.1:$(UI_PORT)}; \
	if (exec 3<>/dev/tcp/127.0.0.1/$(CONSOLE_PORT)) 2>/dev/null; then \
	  echo "console: port $(CONSOLE_PORT) is taken, so that it is not served (CONSOLE_PORT=...)"; \
	elif $(BIN)/defiyield migrate >/dev/null; then \
	  ($(BIN)/defiyield console --port $(CONSOLE_PORT) & server=$$!; \
	    tail --pid=$$$$ -f /dev/null; kill $$server 2>/dev/null) </dev/null & \
	fi; \
	exec $(BIN)/python -c $(LISTENING) $(BIN)/dagster dev --workspace workspace.yaml --host 127.0.0.1 --port $(UI_PORT)

# The site of docs/; a remark of the builder is an error, links between pages are checked.
docs: install
	@$(BIN)/sphinx-build -W --keep-going -n -q docs $(DOCS)
	@echo "docs: $(DOCS)/index.html"

# Asks every address outside that the docs name, and lists those that do not answer.
docs-links: install
	$(BIN)/sphinx-build -b linkcheck docs build/links

# Runs the tutorial's commands on a fresh state and writes what they print into docs/tutorial.md.
docs-transcript: install
	$(BIN)/python docs/transcribe.py

# The days that tests share are run anew by `make test`; `make test-slow` finds them, while the sources stay as they are.
test: install
	@rm -rf .pytest_cache/d/states
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: install
	$(BIN)/python -m pytest -m "slow and not nightly" -n 2 --dist loadfile

# What goes through every case, or takes minutes a test; CI has no time for it.
test-nightly: install
	$(BIN)/python -m pytest -m nightly -n 2 --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Known vulnerabilities of the pinned libraries; a warning where their database cannot be reached.
audit: install
	@$(BIN)/python .ci/audit

# Every parser, SECONDS_EACH each (default 60); what breaks one is kept beside the targets.
fuzz: install
	$(BIN)/python -m defiyield_assets_tests.fuzzing --seconds $(or $(SECONDS_EACH),60)

bench: install
	$(BIN)/python -m benchmarks.demo
	$(BIN)/python -m benchmarks.ingestion
	$(BIN)/python -m benchmarks.forecasting
	$(BIN)/python -m benchmarks.ledger
	$(BIN)/python -m benchmarks.allocation
	$(BIN)/python -m benchmarks.policy_backtest
	$(BIN)/python -m benchmarks.features
	$(BIN)/python -m benchmarks.backtesting
	$(BIN)/python -m benchmarks.warehouse
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.console

clean:
	rm -rf .state
