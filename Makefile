# make demo        run five examples on the fakes, without a server or a driver
# make demo-real   run them on private real servers too; fail if the transcripts differ
# make test        install what the tests need, start private servers on loopback, run everything
# make unit        run the tests on the fakes alone, without a server: for the quick loop
# make check       run lint, types, names assigned twice, and whether each mutant still applies
# make bench       run the benchmarks side by side; fail if a promise is missed
# make bench-check run them for about a minute; fail at half of a promise
# make prove       run the long tests; PART=machines, kills, size or versions runs one of them
# make mutants     break the code, one rule at a time: the tests must notice each

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check
AS_ROOT := $(shell test "$$(id -u)" = 0 && command -v apt-get)
# RUNLEVEL=1: Debian's packages start no service; RabbitMQ's asks a program, and 101 means no.
POLICY := /usr/sbin/policy-rc.d
APT := RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0

.DEFAULT_GOAL := help
.PHONY: help demo demo-real test unit check bench bench-check pgloader prove prove-machines \
  prove-kills prove-size prove-versions mutants servers clean

help:
	@sed -n 's/^# make/make/p' Makefile

demo: $(VENV)/base
	$(BIN)/python -u examples/quickstart.py
	$(BIN)/python -u examples/benchmark_exchange.py
	DATABASE_URL= $(BIN)/python -u examples/shop.py
	$(BIN)/python -u examples/move_users.py
	$(BIN)/python -u examples/orders.py

demo-real: $(VENV)/test servers
	$(BIN)/python tests/demo_real.py

# Keep byte code even if the environment forbids it: the tests start a hundred programs that import
# infra.py.
test unit prove-% mutants: export PYTHONDONTWRITEBYTECODE =

test: $(VENV)/test servers
	@nice sh -c '$(BIN)/python tests/pythons.py --short; pythons=$$?; \
	    $(BIN)/python tests/versions.py --short && exit $$pythons' \
	    > $(VENV)/versions.log 2>&1 & others=$$!; \
	  $(BIN)/python -m pytest --numprocesses 3 --dist worksteal; failed=$$?; \
	  wait $$others || failed=1; cat $(VENV)/versions.log; exit $$failed

unit: $(VENV)/test
	$(BIN)/python -m pytest -q --numprocesses 2 --dist worksteal -m "not real" \
	    tests/contract tests/unit

check: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pyright --pythonpath $(BIN)/python
	$(BIN)/python tests/names.py
	$(BIN)/python -m tests.mutants --check

BENCHES := imports fakes cache storage bus events audit pool observe repositories exchange splitter move

bench: pgloader
bench bench-check: $(VENV)/bench servers
	@missed=""; \
	for bench in $(BENCHES); do \
	  $(BIN)/python bench/$$bench.py $(if $(filter %-check,$@),--short) || missed="$$missed $$bench"; \
	done; \
	if [ -n "$$missed" ]; then echo "failed:$$missed"; exit 1; fi

# The rival of data moves. Without it bench/move.py says that this promise was not measured.
pgloader:
	@if command -v pgloader >/dev/null; then :; \
	elif [ -n "$(AS_ROOT)" ]; then \
	  echo "installing pgloader"; \
	  $(APT) update && $(APT) install -y --no-install-recommends pgloader; \
	else echo "not installed: pgloader"; fi

PART ?= machines kills size versions
prove: $(PART:%=prove-%)

prove-%: export PROVE = 1
prove-machines: $(VENV)/test servers
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal tests/properties \
	    tests/contract/test_many_rows.py::test_a_hundred_thousand_records

prove-kills: $(VENV)/test servers
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal tests/faults/test_kills.py \
	    tests/faults/test_streams.py::test_workers_are_killed_at_random \
	    tests/faults/test_streams.py::test_a_broker_is_killed_and_restarted \
	    tests/faults/test_moves.py::test_killed_and_resumed \
	    tests/faults/test_object_moves.py::test_killed_and_resumed

prove-size: $(VENV)/test servers
	$(BIN)/python -m pytest tests/faults/test_size.py

prove-versions: $(VENV)/test servers
	$(BIN)/python tests/pythons.py
	$(BIN)/python tests/versions.py
	$(BIN)/python -m pytest tests/unit/test_packaging.py tests/unit/test_types.py

mutants: $(VENV)/test servers
	$(BIN)/python -m tests.mutants

$(BIN)/python:
	@$(PYTHON) -m venv --clear $(VENV) >/dev/null || { \
	  if [ -n "$(AS_ROOT)" ]; then \
	    echo "installing python3-venv"; \
	    $(APT) update && $(APT) install -y --no-install-recommends python3-venv \
	      && $(PYTHON) -m venv --clear $(VENV); \
	  else \
	    echo "Python's venv module is missing: install python3-venv, then run make again"; exit 1; \
	  fi; }

$(VENV)/base: setup.py pyproject.toml | $(BIN)/python
	$(PIP) install -e .
	@touch $@

$(VENV)/test $(VENV)/bench: $(VENV)/%: setup.py pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[$*]'
	@touch $@ $(VENV)/base

# Install the servers that no wheel has, unless the environment has a URL of one. Tests of a missing
# server are skipped, or fail under REQUIRE_SERVICES=1. Oracle MySQL is unpacked into .cache.
servers: | $(BIN)/python
	@wanted=""; \
	[ -n "$$REDIS_URL" ] || command -v redis-server >/dev/null || wanted="$$wanted redis-server"; \
	[ -n "$$MARIADB_URL" ] || command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ] \
	  || wanted="$$wanted mariadb-server"; \
	[ -n "$$POSTGRES_URL" ] || command -v postgres >/dev/null \
	  || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || wanted="$$wanted postgresql"; \
	command -v ps >/dev/null || wanted="$$wanted procps"; \
	command -v openssl >/dev/null || wanted="$$wanted openssl"; \
	[ -n "$$RABBITMQ_URL" ] || ls -d /usr/lib/rabbitmq/lib/* >/dev/null 2>&1 \
	  || wanted="$$wanted rabbitmq-server"; \
	if [ -z "$$wanted" ]; then :; \
	elif [ -n "$(AS_ROOT)" ]; then \
	  echo "installing$$wanted"; \
	  [ -e $(POLICY) ] || { trap 'rm -f $(POLICY)' EXIT; \
	    printf '#!/bin/sh\nexit 101\n' > $(POLICY); chmod 755 $(POLICY); }; \
	  $(APT) update && $(APT) install -y --no-install-recommends $$wanted; \
	else \
	  echo "not installed:$$wanted; install them, or set the variables of docker-compose.test.yml"; \
	fi
	@[ -n "$$MYSQL_URL" ] || $(BIN)/python -m tests.services fetch mysql || :

clean:
	rm -rf $(VENV) .cache build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
