# make demo: a whole scan on this machine.  make test: every test.  Needs Python 3.11 or newer with venv, nothing else.

SHELL := /bin/sh
BIN := .venv/bin
STAMP := .venv/.installed
EXTRAS := hep,test
OLD_PYTHON = no Python 3.11 or newer found. Debian, Ubuntu: apt-get install python3 python3-venv (or python3.11 python3.11-venv)
NO_VENV = has no venv. Debian, Ubuntu: apt-get install python3-venv (or the package of that version, such as python3.11-venv)

.PHONY: help venv demo test lint format docs bench chaos clean

help:
	@echo "make demo    run examples/monohbb; plots and contour in demo-monohbb/"
	@echo "make test    run all tests"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make docs    the documentation as a site, in site/"
	@echo "make bench   the benchmarks, at full length"
	@echo "make chaos   the long kill tests"
	@echo "make clean   remove the environment, the demo and all caches"

venv: $(STAMP)

# Made again when pyproject.toml has changed. A first python3 that is too old does not hide a newer python3.12.
$(STAMP): pyproject.toml
	@python=""; \
	for name in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	    if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "$(OLD_PYTHON)" >&2; exit 1; fi; \
	if ! $$python -c 'import ensurepip, venv' >/dev/null 2>&1; then echo "$$python $(NO_VENV)" >&2; exit 1; fi; \
	test -x $(BIN)/python || $$python -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	@touch $@

demo: $(STAMP)
	rm -rf demo-monohbb
	$(BIN)/idds-core run examples/monohbb/scan.py --workdir demo-monohbb

# Several processes, a file at a time; each with one thread for linear algebra, as the processes share the cores.
test: $(STAMP)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy idds_core learners agents tests examples benchmarks
	$(BIN)/lint-imports

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS),bench]'
	$(BIN)/python -m benchmarks.engine
	for script in speed levelset stopping steady warm optimum pruning; do \
		OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.$$script || exit 1; done

chaos: $(STAMP)
	IDDS_CHAOS=full $(BIN)/pytest tests/chaos --timeout=0

clean:
	rm -rf site .venv demo-monohbb build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
