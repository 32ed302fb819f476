# Everything a developer does here, from a bare checkout. `make` alone lists the targets.
#
#   PYTHON=python3.12 make setup     another interpreter (3.11 or newer); only read when .venv is made
#   ARGS="-k unique -x" make test    more arguments for pytest

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13; do \
	$$python -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$python && break; done)
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
URL ?= memory://
SCALE ?= 1
ARGS ?=

# A stamp per set of packages: younger than what names the packages means installed, and nothing is asked of a network.
RUN := $(VENV)/.installed-run
DEV := $(VENV)/.installed-dev
DOCS := $(VENV)/.installed-docs

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(DEV) ## make .venv and install everything for development
	@echo "ready: $(BIN)/worksong, $(BIN)/pytest"

demo: $(RUN) ## run the example application: jobs that succeed, retry, wait and repeat
	@$(BIN)/python examples/demo.py

# make test: everything. Servers are looked for first, so that tests decide by their presence when they are collected.
test: $(DEV) ## run all tests in two processes, each with real servers of its own on private ports
	@$(BIN)/python tests/servers.py
	@$(BIN)/pytest --numprocesses 2 $(ARGS)

contract: $(DEV) ## run the contract suite on every backend
	@$(BIN)/python tests/servers.py
	@$(BIN)/pytest tests/contract $(ARGS)

machine: $(DEV) ## run the stateful property tests on every backend
	@$(BIN)/python tests/servers.py
	@$(BIN)/pytest tests/machine $(ARGS)

interop: $(DEV) ## build the real peers with Go, and run the tests against them (says so when it has none)
	@$(BIN)/python tests/servers.py
	@WORKSONG_INTEROP=1 WORKSONG_FAKTORY=1 CHAOS_SCALE=$(SCALE) $(BIN)/pytest tests/interop tests/resque $(ARGS)

rabbitmq: $(DEV) ## run the tests of amqp://, and those beside Go, which `make test` leaves out
	@$(BIN)/python tests/servers.py
	@WORKSONG_RABBITMQ=1 CHAOS_SCALE=$(SCALE) $(BIN)/pytest tests/amqp tests/contract/test_amqp.py tests/interop/test_amqp_go.py $(ARGS)

# What the tests call MariaDB is MySQL then. Nothing is installed: it is unpacked beside .venv, with its own libraries.
mysql: $(DEV) ## fetch the real MySQL 8+ (Debian only), and run the tests of mariadb:// on it
	@program=$$($(BIN)/python tests/mysqld.py .venv-mysql) && \
	WORKSONG_MYSQL=$$program $(BIN)/pytest tests/contract tests/machine tests/sql tests/move -k mariadb $(ARGS)

faktory: $(DEV) ## build the real Faktory with Go, and run the tests of faktory:// on it, and beside Go
	@$(BIN)/python tests/servers.py
	@WORKSONG_FAKTORY=1 CHAOS_SCALE=$(SCALE) $(BIN)/pytest tests/faktory tests/contract/test_faktory.py tests/interop/test_faktory_go.py $(ARGS)

chaos: $(DEV) ## kill workers and servers, and write what was measured into docs/guarantees.md; SCALE=10 for longer
	@$(BIN)/python tests/servers.py
	@WORKSONG_INTEROP=1 WORKSONG_FAKTORY=1 CHAOS_SCALE=$(SCALE) $(BIN)/pytest tests/chaos --certificates tests/chaos/certificates.json $(ARGS)
	@$(BIN)/python -m tests.chaos.certificates tests/chaos/certificates.json docs/guarantees.md

browser: $(DEV) ## run the tests of the web console in Chromium (needs chromium, node and npm)
	@command -v npm >/dev/null && cd tests/browser && npm ci --silent --no-audit --no-fund || echo "no npm: the tests are skipped"
	@WORKSONG_BROWSER=1 $(BIN)/pytest tests/browser $(ARGS)

newer: ## run tests on Python 3.13 and Django 6, in a Debian 13 below .newer (as root; needs debootstrap and the network)
	@tests/newer.sh .newer $(ARGS)

image: $(DEV) ## build the Dockerfile, and run tests in its image (as root; needs podman, debootstrap and the network)
	@$(BIN)/python tests/servers.py
	@tests/image.sh .image $(ARGS)

bench: $(RUN) ## measure worksong alone and beside other systems; QUICK=1, PEERS=dramatiq,rq, ARGS="--json FILE", URL=redis://...
	@$(BIN)/worksong bench --url '$(URL)'
	@if command -v redis-server >/dev/null; then QUICK='$(QUICK)' PEERS='$(PEERS)' $(BIN)/python -m bench $(ARGS); \
		else $(BIN)/python bench/hot_path.py; echo 'not measured on Redis: there is no redis-server on the PATH'; fi

serve: $(RUN) ## serve the example's jobs over HTTP and gRPC on this machine, with the console beside them
	@$(BIN)/worksong serve examples.service:worker --config examples/service.yaml

# The oldest generator whose output all supported versions of protobuf read, in an environment of its own.
proto: ## generate the gRPC messages from their .proto files
	@[ -x .venv-proto/bin/python ] || { $(PYTHON) -m venv .venv-proto && .venv-proto/bin/pip install --quiet grpcio-tools==1.76.0; }
	@.venv-proto/bin/python -m grpc_tools.protoc -I src --python_out=src --pyi_out=src src/worksong/faces/grpc/wire/*.proto

docs: $(DOCS) ## build the documentation into site/, warnings are errors
	@$(BIN)/zensical build --clean --strict && rm -rf .cache

clean: ## remove what was built and cached; .venv stays
	@rm -rf site dist build .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	@find src tests examples bench -name __pycache__ -type d -prune -exec rm -rf {} +

constraints: $(VENV)/bin/python ## write constraints.txt anew from the newest packages that pyproject.toml allows
	@set -e; fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(BIN)/python -m venv "$$fresh"; \
	"$$fresh/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[all,dev,docs]'; \
	"$$fresh/bin/python" -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9._-]+==[^ ]+$$' | LC_ALL=C sort -f > "$$fresh/new"; \
	cp "$$fresh/new" constraints.txt

# make check: each tool says its name, its result and its time; a failing one also says why, and the others still run.

CHECKS := check-format check-lint check-mypy check-basedpyright check-imports check-spelling check-pyproject

check: $(DEV) ## format, lint, types, layers, spelling: all without a test
	@$(MAKE) --no-print-directory --keep-going --jobs 2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) \
		check-basedpyright check-mypy $(CHECKS)
	@echo "check: all passed"

check-format: TOOL = ruff format --check .
check-lint: TOOL = ruff check .
check-mypy: TOOL = mypy
check-basedpyright: TOOL = basedpyright
check-imports: TOOL = lint-imports
check-spelling: TOOL = codespell
check-pyproject: TOOL = validate-pyproject pyproject.toml

$(CHECKS): $(DEV)
	@took=$$({ TIMEFORMAT=%R; time $(BIN)/$(TOOL) >$(VENV)/.$@ 2>&1; } 2>&1); result=$$?; \
	[ $$result = 0 ] && word=ok || word=FAILED; \
	printf '%-6s %7s s  %s\n' $$word "$$took" '$(TOOL)'; \
	[ $$result = 0 ] || { cat $(VENV)/.$@; exit $$result; }

# Installing. --no-build-isolation: the build back end is one of our own pinned packages, so that a change in
# pyproject.toml that asks for no new package needs no network.

$(VENV)/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer with venv is needed (Debian: apt-get install python3-venv)"; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(RUN): pyproject.toml constraints.txt | $(VENV)/bin/python
	@[ $(DEV) -nt pyproject.toml -a $(DEV) -nt constraints.txt ] || { echo "installing worksong[all]"; \
	$(INSTALL) hatchling editables && $(INSTALL) --no-build-isolation --editable '.[all]'; }
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing worksong[all,dev]"
	@$(INSTALL) hatchling editables && $(INSTALL) --no-build-isolation --editable '.[all,dev]'
	@touch $@

$(DOCS): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing worksong[docs]"
	@$(INSTALL) hatchling editables && $(INSTALL) --no-build-isolation --editable '.[docs]'
	@touch $@

.PHONY: help setup demo test contract machine interop rabbitmq mysql faktory chaos browser newer image bench serve proto docs clean constraints check $(CHECKS)
