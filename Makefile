# Everything runs in .venv, which these targets create and fill from the lock.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test check format bench peers soak conformance clients install node lock clean

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: install          ## the main job, killed in the middle and finished all the same
	@$(BIN)/mcp-workflows demo

test: install          ## the whole suite, a file at a time on each core
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

check: install         ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install peers   ## everything docs/performance.md tells, written into it: side by side with DBOS and Restate
	$(BIN)/python -m benchmarks

peers: .peers/.installed   ## the Restate server for `make bench`; needs Node and npm

.peers/.installed: Makefile
	@if command -v npm >/dev/null; then \
	  echo "Installing into .peers …" && mkdir -p .peers && \
	  npm install --prefix .peers --no-save --no-package-lock --no-audit --no-fund --loglevel=error \
	    @restatedev/restate-server@1.7.12 && touch $@; \
	else echo "SKIPPED: there is no npm, so Restate will not be measured"; fi

soak: install          ## the long tests: chaos for SOAK_SECONDS (600) each, with three seeds or SOAK_SEED, and more
	$(BIN)/python -m pytest -m soak --timeout 3600
	$(BIN)/python -m pytest tests/engine --hypothesis-profile=soak --timeout 3600 -m "not soak"

conformance: install node   ## the official conformance suite of MCP, which is a part of `make test` too
	$(BIN)/python -m pytest tests/conformance

clients: .clients/.installed   ## MCP clients of others, FastMCP's and pydantic-ai's, for the tests that need them

.clients/.installed: requirements-clients.lock
	@test -x .clients/bin/python || $(PYTHON) -m venv .clients
	@echo "Installing into .clients …"
	@.clients/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

node: node_modules/.installed   ## Node, the TypeScript SDK, the conformance suite, the MCP Inspector and Mermaid, for the tests marked "node"; needs npm

node_modules/.installed: Makefile
	@echo "Installing into node_modules …"
	@npm install --prefix . --no-save --no-package-lock --no-audit --no-fund --loglevel=error node@24 @modelcontextprotocol/client@2.4.0 @modelcontextprotocol/conformance@0.2.0-alpha.12 @modelcontextprotocol/inspector@2.12.0 jsdom@31.0.1 mermaid@12.3.0
	@touch $@

lock:                  ## resolve pyproject.toml anew into requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group dev --group bench pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group clients --constraint requirements.lock -o requirements-clients.lock

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache .hypothesis
