# Needs Python 3.11 or newer, and make. Everything else is installed into .venv.
PYTHON ?= python3
UV = .venv/bin/uv
RUN = .venv/bin

# Modules are compiled once and kept, also where the environment says otherwise: the tests start
# hundreds of processes, and compiling is more than half of what a start takes.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help install demo test check lint bench clean

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: .venv/.installed  ## .venv with what uv.lock pins

.venv/.installed: pyproject.toml uv.lock
	@test -x $(UV) || { $(PYTHON) -m venv .venv && $(RUN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'; }
	$(UV) sync --quiet --frozen --group dev --group bench --group load --inexact
	@touch $@

demo: install  ## real servers, a simulated shop, a live view
	$(RUN)/tillstream demo

# Files in the order of their names: those of many small tests are last, and both processes end together.
test: install  ## every test, on the real servers
	$(RUN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

check: install  ## lint, types, import contracts; changes nothing
	$(RUN)/ruff format --check --quiet .
	$(RUN)/ruff check --quiet .
	$(RUN)/mypy
	$(RUN)/lint-imports

lint: install  ## what can be mended by itself
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

bench: install  ## Tillstream beside what else one would use, in one run; ONLINE_RETAIL=FILE adds it
	$(RUN)/python -m loadtests.bench $(if $(ONLINE_RETAIL),--online-retail $(ONLINE_RETAIL))

clean:  ## delete .venv and caches; what the shop knows stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
