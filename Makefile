# Everything runs in .venv, which the first target that needs it creates.
PYTHON ?= python3
OUT ?= out/demo
VENV := .venv
BIN := $(VENV)/bin
INTEGRATIONS := $(wildcard integrations/*)
# uv does not read pip's configuration: hand over the folder of local wheels that it may name.
LINKS := $(shell d=$$($(PYTHON) -m pip config get global.find-links 2>/dev/null); [ -d "$$d" ] && echo "$$d")
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false
export HAYSTACK_TELEMETRY_ENABLED ?= False

.PHONY: setup demo test check bench trust nightly clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt $(INTEGRATIONS:%=%/pyproject.toml)
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(if $(LINKS),UV_FIND_LINKS=$(LINKS)) $(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[dev]' $(INTEGRATIONS:%=-e %) -c constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps model2vec skeletoken
	touch $@

demo: setup
	$(BIN)/ragguard demo --out $(OUT)

test: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	for each in $(INTEGRATIONS); do (cd $$each && $(CURDIR)/$(BIN)/mypy) || exit 1; done
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m benchmarks.run
	$(BIN)/python -m benchmarks.ratios

trust: setup
	$(if $(LINKS),UV_FIND_LINKS=$(LINKS)) $(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[trust]' -c constraints.txt
	$(BIN)/python -m benchmarks.trust --out $(OUT)

nightly: setup
	$(if $(LINKS),UV_FIND_LINKS=$(LINKS)) $(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[ray]' -c constraints.txt
	$(BIN)/python -m pytest tests/test_ingest.py -k ray
	$(BIN)/python -m benchmarks.run --out out/nightly closed_form latency sql_store
	$(BIN)/python -m benchmarks.ratios --fresh out/nightly

clean:
	rm -rf $(VENV) out build dist
