# Everything runs in .venv, which the first call creates from the lock files. A stamp in it says what is installed, so
# later calls start at once.
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
INSTALL := $(PIP) install --require-hashes --only-binary :all: --compile
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed
# What builds the project itself, locked with the rest so that installing it asks the network for nothing more.
BUILD_REQUIREMENTS := hatchling>=1.27\neditables>=0.5\n
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11
PYTEST := $(BIN)/python -m pytest
WORKERS := 2
# The slow tests mostly wait: for the disk, for a process to end.
SLOW_WORKERS := 3
CHECKED := src tests $(wildcard bench scripts)

.DELETE_ON_ERROR:
.PHONY: help serve test test-slow test-ha test-all drill test-prerequisites test-ha-prerequisites check format bench bench-compare docs lock clean

help:  ## Show what make can do here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: $(RUNTIME)  ## Start Holdfast on http://127.0.0.1:8080
	@exec $(BIN)/holdfast serve $(ARGS)

test: $(DEVELOPMENT) test-prerequisites  ## Run the everyday tests
	$(PYTEST) -n $(WORKERS) -m "not slow and not ha" $(ARGS)

test-slow: $(DEVELOPMENT) test-prerequisites  ## Run the slow tests only
	$(PYTEST) -n $(SLOW_WORKERS) -m "slow and not ha" $(ARGS)

test-ha: $(DEVELOPMENT) test-ha-prerequisites  ## Run the tests on clusters, under load
	$(PYTEST) -n $(WORKERS) --dist loadfile -m ha $(ARGS)

test-all: $(DEVELOPMENT) test-ha-prerequisites  ## Run every test
	$(PYTEST) -n $(WORKERS) $(ARGS)

test-ha-prerequisites: test-prerequisites
	@sh scripts/install-etcd

drill: $(DEVELOPMENT) test-prerequisites  ## Prove by drills on three engines that backups come back
	$(PYTEST) -n $(WORKERS) tests/operations/drill $(ARGS)

test-prerequisites:
	@sh scripts/install-mariadb
	@sh scripts/install-deployment-tools

check: $(DEVELOPMENT)  ## Check format, style, types, layers and links
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy $(CHECKED)
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_links.py

format: $(DEVELOPMENT)  ## Format the code and repair what can be repaired
	$(BIN)/ruff check --fix --exit-zero --quiet
	$(BIN)/ruff format

bench: $(DEVELOPMENT) test-prerequisites  ## Measure against the targets
	$(BIN)/python -m bench $(ARGS)

bench-compare: $(DEVELOPMENT) test-prerequisites  ## Measure, and say what got worse since the baselines
	$(BIN)/python -m bench.compare $(ARGS)

docs: $(DEVELOPMENT)  ## Check the links of the documentation
	$(BIN)/python scripts/check_links.py

lock: $(VENV)/.created  ## Renew requirements.lock and requirements-dev.lock (UPGRADE=1: newest versions)
	@$(BIN)/uv --version >/dev/null 2>&1 || $(PIP) install "uv>=0.9"
	printf '$(BUILD_REQUIREMENTS)' | $(COMPILE) $(if $(UPGRADE),--upgrade) pyproject.toml - -o requirements.lock
	printf '$(BUILD_REQUIREMENTS)' | $(COMPILE) $(if $(UPGRADE),--upgrade) --extra dev --extra bench -c requirements.lock \
		pyproject.toml - -o requirements-dev.lock
	@! grep -nE '://|^ *--(index|extra|find)' requirements.lock requirements-dev.lock

clean:  ## Remove .venv, caches and build results; data stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests $(wildcard bench scripts) -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.created: scripts/create-venv
	@sh scripts/create-venv $(VENV)
	@touch $@

# The project is installed last and editable: its code is used in place, its commands land in .venv/bin.
$(RUNTIME): $(VENV)/.created requirements.lock pyproject.toml
	@echo "Installing what Holdfast needs; this happens once ..."
	@$(INSTALL) -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# Two packages that Patroni needs are published as source only.
$(DEVELOPMENT): $(VENV)/.created requirements-dev.lock pyproject.toml
	@echo "Installing what the tests need; this happens once ..."
	@$(INSTALL) --no-binary python-etcd,ydiff -r requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@
