# `make help` lists the targets. Everything is installed into .venv from files with hashes; nothing else is touched.

PYTHON ?= python3
BIN := .venv/bin
# More than the cores: tests mostly wait, for a browser, a commit or another process.
WORKERS ?= 4
# With it all of the tests take a quarter of an hour on two cores.
TIME ?= 2m

.DEFAULT_GOAL := help
.PHONY: help run test check prove bench lint types imports docs docs-check format lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: .venv/run ## Start everything on http://127.0.0.1:8000, with a private PostgreSQL and sandbox payments
	@APP_ENV=$${APP_ENV:-local} exec $(BIN)/pantheon serve

test: .venv/dev ## Run the tests (browser tests need Debian's chromium)
	$(BIN)/pytest -n $(WORKERS) -m "not prove"

prove: .venv/dev ## Run the long proofs too; the books against their model for TIME, such as 90s, 10m or 2h
	PANTHEON_ORACLE_TIME=$(TIME) $(BIN)/pytest -n $(WORKERS)

bench: .venv/dev ## Measure this machine in ten minutes; ONLY=ledger,http,webhooks,calls,growth QUICK=1 LONG=1
	@ONLY="$(ONLY)" QUICK="$(QUICK)" LONG="$(LONG)" RESULTS="$(RESULTS)" $(BIN)/python -m benchmarks

check: lint types imports docs-check test ## Everything that must hold before a commit

lint: .venv/dev
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks

types: .venv/dev
	$(BIN)/mypy

imports: .venv/dev
	$(BIN)/lint-imports

docs: .venv/dev ## Write the generated documents
	$(BIN)/pantheon docs write

docs-check: .venv/dev
	$(BIN)/pantheon docs check

format: .venv/dev ## Format the code
	$(BIN)/ruff check --fix src tests benchmarks
	$(BIN)/ruff format src tests benchmarks

lock: ## Resolve the dependencies anew (needs uv on the PATH)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
		--extra build pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
		--extra build --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean: ## Remove the environment; the data of `make run` stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis

# pip compiles nothing: modules are compiled when they are first used, and most never are.
define install
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r $(1)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --no-deps --no-build-isolation --editable .
	touch $@
endef

.venv/run: requirements.lock pyproject.toml
	@echo "Installing into .venv (half a minute the first time) …"
	@$(call install,requirements.lock)

.venv/dev: requirements-dev.lock pyproject.toml
	@echo "Installing into .venv with the tools for development …"
	@$(call install,requirements-dev.lock)
	@touch .venv/run
