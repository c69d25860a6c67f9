# Everything a newcomer needs: `make serve` and `make test` set up what they use.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
DATA ?= ./data

RUN = .venv/bin

.PHONY: serve install install-mcp install-sherpa install-onnx install-dev test torture bench check lock clean

serve: install ## Install and serve on HOST:PORT, data in DATA
	$(RUN)/kaiwa --data $(DATA) serve --host $(HOST) --port $(PORT)

install: .venv/installed ## Make .venv from the lock file and install Kaiwa into it

install-mcp: .venv/installed requirements-mcp.lock ## The same, with what servers of tools (MCP) need
	$(RUN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-mcp.lock

install-sherpa: .venv/installed requirements-sherpa.lock ## The same, with speech recognition on this machine
	$(RUN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-sherpa.lock

install-onnx: .venv/installed requirements-onnx.lock ## The same, with what embedding models in folders need
	$(RUN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-onnx.lock

test: .venv/installed-dev ## Install and run every test
	$(RUN)/pytest -n 2

TIMES ?= 100

torture: .venv/installed-dev ## Kill and cut off servers under load, TIMES over: docs/reliability.md
	KAIWA_TORTURE=$(TIMES) $(RUN)/pytest -n 2 -m torture tests/e2e

NAMES ?=
ROUNDS ?= 3
MINUTES ?= 10

bench: .venv/installed-dev ## Measure beside the floor, all or only NAMES: docs/performance.md
	@$(RUN)/python -m bench $(NAMES) --rounds $(ROUNDS) --minutes $(MINUTES)

check: .venv/installed-dev ## Linters, types, import contracts
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/basedpyright
	$(RUN)/lint-imports

lock: ## Make the lock files anew (needs uv)
	uv pip compile $(LOCK) pyproject.toml --group build -o requirements.lock
	uv pip compile $(LOCK) pyproject.toml --group build --extra mcp -c requirements.lock -o requirements-mcp.lock
	uv pip compile $(LOCK) pyproject.toml --group build --extra sherpa -c requirements.lock -o requirements-sherpa.lock
	uv pip compile $(LOCK) pyproject.toml --group build --extra onnx -c requirements.lock -o requirements-onnx.lock
	uv pip compile $(LOCK) pyproject.toml --group build --group dev --extra mcp -c requirements-mcp.lock -o requirements-dev.lock

LOCK = --universal --generate-hashes --python-version 3.11 --no-header --no-emit-index-url \
	--no-emit-find-links --quiet

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Kaiwa needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python requirements.lock pyproject.toml
	$(RUN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(RUN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.lock
	$(RUN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

clean: ## Remove what make made; never the data
	rm -rf .venv .pytest_cache .ruff_cache .import_linter_cache .hypothesis
