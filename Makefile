.PHONY: setup run demo test lint
PYTHON ?= python3
BIN := .venv/bin

setup: .venv/.ready  ## make .venv with everything that Muster and its tests need

.venv/.ready: requirements.txt requirements-dev.txt
	@echo "Making .venv: about a minute the first time, seconds with a warm package cache."
	@$(PYTHON) -c 'import sys; sys.exit("Muster needs Python 3.11 or newer; set PYTHON=…" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install -qq --disable-pip-version-check -r requirements-dev.txt
	@touch $@

run: setup  ## coordinator and three workers on 127.0.0.1:8000-8003; Ctrl-C ends all
	@$(BIN)/python -m coordinator.cli run

demo: setup  ## ask QUESTION about the files in KNOWLEDGE_DIR, on free ports, and write report.html
	@$(BIN)/python -m coordinator.cli demo

test: setup  ## all tests that need no container
	$(BIN)/python -m pytest

lint: setup  ## style, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
