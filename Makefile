# Start with `make up`, `make down`, `make check` and `make test`. All downloads and builds are in .venv/ and .lab/, which git
# ignores. The second run of a target uses them and is fast.

PYTHON ?= python3
# Tests wait for the engine most of the time, so four at once suit two cores.
WORKERS ?= 4
# Bytecode is kept, whatever the environment says: otherwise each process of a test compiles the library again.
export PYTHONDONTWRITEBYTECODE :=
python := .venv/bin/python
stack := $(python) -m lab.stack
platform = $(if $(PLATFORM),--platform "$(PLATFORM)")

.DEFAULT_GOAL := help
.PHONY: help environment tools test-tools up preview refresh destroy down test test-pythons lint check bench soak lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

environment:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "error: Python 3.10 or newer is needed: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m lab.environment

tools: environment
	@$(python) -m lab.bootstrap

up: environment ## run the example; FAIL=web-1 makes a VM fail, REPLACE=web-1 replaces it; PLATFORM=cloud_director
	@$(stack) up $(platform) $(if $(FAIL),--fail "$(FAIL)") $(if $(REPLACE),--replace "$(REPLACE)")

preview: environment ## show what `make up` would do
	@$(stack) preview $(platform)

refresh: environment ## compare the stack with the lab's vCenter
	@$(stack) refresh $(platform)

destroy: environment ## delete the example, keep the lab's vCenter running
	@$(stack) destroy $(platform)

down: environment ## delete the example and stop the lab, on both platforms or on PLATFORM
	@$(stack) down $(platform)

lint: environment ## check style, types and import contracts
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy
	.venv/bin/lint-imports

check: lint ## the fast loop, without Go and the CLI: lint, then the unit tests with their coverage
	$(python) -m pytest tests/unit -n 2 --dist worksteal --cov --cov-report=term:skip-covered
	$(python) -m tests.coverage_floor

test-tools: tools
	@$(python) -m tests.prepare

test: lint test-tools ## lint, vet and test the lab's Go, then run every test
	$(python) -m lab.go vet lab/vcenter
	$(python) -m lab.go vet lab/vcd_client
	$(python) -m lab.go test lab/vcenter
	$(python) -m pytest -n $(WORKERS) --dist worksteal --hypothesis-profile thorough

test-pythons: environment ## run the unit tests on every installed Python from 3.10
	$(python) -m tests.pythons

bench: tools ## measure the gate and other waiters (15 minutes); FULL=1: up to 10,000 VMs, half an hour, writes docs/
	$(python) -m benchmarks $(if $(FULL),--full)

soak: environment ## run 1000 VMs for ten minutes with random faults; VMS=, MINUTES=, SEED=
	$(python) -m lab.soak $(if $(VMS),--vms $(VMS)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

lock: environment ## update requirements.lock and the other lock files
	$(python) -m uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.10 \
	    --generate-hashes --quiet --no-header --upgrade --output-file requirements.lock
	printf 'ansible==12.3.0\npyvmomi\nrequests\n' | $(python) -m uv pip compile - --universal --python-version 3.11 \
	    --generate-hashes --quiet --no-header --upgrade --output-file requirements-bench.lock
	$(python) -m uv pip compile pyproject.toml --universal --python-version 3.10 --resolution lowest-direct \
	    --generate-hashes --quiet --no-header --upgrade --output-file requirements-oldest.lock
	$(python) -m uv pip compile pyproject.toml --universal --python-version 3.10 \
	    --generate-hashes --quiet --no-header --upgrade --output-file requirements-plain.lock

clean: ## stop the lab and remove everything that `make` created
	@if [ -x $(python) ]; then $(stack) down || true; fi
	rm -rf .venv .lab .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage build dist
