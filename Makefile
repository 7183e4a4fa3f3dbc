# Each target sets up what it needs. A fresh machine needs make and Python 3.11, 3.12 or 3.13 with venv.
#
#   make demo    watch a model being trained, approved, watched in production and replaced (see demo/__main__.py for its settings)
#   make test    all checks and tests; without a Docker engine the tests that need one are skipped, but not in CI
#   make check   the static checks alone
#   make setup   the virtual environment in .venv; SPARK=1 with PySpark (400 MB), which wants a Java
#   make bench-training   what a training costs beside its job, and a triggerer that waits for 500 jobs (JOBS, REPEATS, SECONDS)
#   make bench-validation  a suite on Parquet: the engine beside SQL by hand, Great Expectations on pandas, and others (ROWS, WAYS)
#   make bench-drift-power   how often each method of drift is wrong, by the size of the data (REPEATS, SIZES)
#   make bench-drift      drift of 1 million rows beside Evidently, NannyML, whylogs and a mere scan (ROWS, REPEATS, THREADS)
#   make clean   remove what the other targets made, the demo's data and state included

export DEMO_STARTED := $(shell date +%s)

# Your own uv if there is one: it finds a suitable Python, and PYTHON=... names another. Else a private uv on $(PYTHON).
PRIVATE_UV := $(CURDIR)/.uv/bin/uv
export UV := $(or $(shell command -v uv 2>/dev/null),$(PRIVATE_UV))
WITH_PYTHON := $(if $(PYTHON)$(filter $(PRIVATE_UV),$(UV)),--python $(or $(PYTHON),python3))
PYTHON ?= python3
BIN := .venv/bin
# In CI no test is skipped, so that PySpark is there, too.
SPARK ?= $(CI)
READY := .venv/.ready$(if $(SPARK),-with-spark)

.PHONY: setup demo test check bench-training bench-validation bench-drift bench-drift-power clean
.DEFAULT_GOAL := setup

setup: $(READY)

$(READY): pyproject.toml uv.lock | $(UV)
	$(UV) sync --locked --quiet $(WITH_PYTHON) $(if $(SPARK),--group spark)
	@rm -f .venv/.ready*
	@touch $@

$(PRIVATE_UV):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "airflow-mlops needs Python 3.11, 3.12 or 3.13, but $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	         "Name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Setting up: a private uv, then the virtual environment .venv"
	@$(PYTHON) -m venv .uv || { echo "Install Python's venv (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@.uv/bin/pip install --quiet --disable-pip-version-check uv

demo: setup
	@exec $(BIN)/python -m demo

check: setup
	$(UV) lock --check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry airflow_mlops
	$(BIN)/codespell

# One session, the quick tests first: it stops a broken build early and starts each shared server once.
test: check
	$(BIN)/python -m pytest tests/unit tests/dags tests/integration tests/e2e

bench-training: setup
	@PYTHONPATH=. $(BIN)/python benchmarks/training.py

bench-validation: setup
	@PYTHONPATH=. $(BIN)/python benchmarks/validation.py

bench-drift: setup
	@PYTHONPATH=. $(BIN)/python benchmarks/drift.py

bench-drift-power: setup
	@PYTHONPATH=. $(BIN)/python benchmarks/drift_power.py

clean:
	rm -rf .venv .uv .demo dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
