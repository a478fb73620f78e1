# Everything runs in .venv, which the first target that needs it creates.
PYTHON ?= python3
OUT ?= out/demo
VENV := .venv
BIN := $(VENV)/bin
INTEGRATIONS := $(wildcard integrations/*)
# Compiled once: else each process that imports torch spends its first ten seconds on that where Python may not write beside it.
INSTALL := $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python
# uv does not read pip's configuration: hand over the folder of local wheels that it may name.
LINKS := $(shell d=$$($(PYTHON) -m pip config get global.find-links 2>/dev/null); [ -d "$$d" ] && echo "$$d")
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false
export HAYSTACK_TELEMETRY_ENABLED ?= False

.PHONY: setup demo test check docs bench trust mutate findings nightly sbom release clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt $(INTEGRATIONS:%=%/pyproject.toml)
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(if $(LINKS),UV_FIND_LINKS=$(LINKS)) $(INSTALL) -e '.[dev]' $(INTEGRATIONS:%=-e %) -c constraints.txt
	$(INSTALL) --no-deps model2vec skeletoken
	touch $@

demo: setup
	$(BIN)/ragguard demo --out $(OUT)

# One worker a core, up to four: each loads the model. Processes that tests start take their share of cores, too.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	for each in $(INTEGRATIONS); do (cd $$each && MYPY_CACHE_DIR=$(CURDIR)/.mypy_cache $(CURDIR)/$(BIN)/mypy) || exit 1; done
	$(BIN)/lint-imports

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: setup
	$(BIN)/python -m benchmarks.run
	$(BIN)/python -m benchmarks.ratios

trust: setup
	$(if $(LINKS),UV_FIND_LINKS=$(LINKS)) $(INSTALL) -e '.[trust]' -c constraints.txt
	$(BIN)/python -m benchmarks.trust --out $(OUT)

mutate: setup
	$(if $(LINKS),UV_FIND_LINKS=$(LINKS)) $(INSTALL) -e '.[mutation]' -c constraints.txt
	$(BIN)/python -m benchmarks.mutation

# What is published: source and wheel of every package, checked, and installed where nothing else is.
release: setup
	rm -rf out/release
	for each in . $(INTEGRATIONS); do $(BIN)/uv build --quiet --out-dir $(CURDIR)/out/release/dist $$each || exit 1; done
	$(BIN)/uv tool run twine check --strict out/release/dist/*.whl out/release/dist/*.tar.gz
	$(BIN)/uv venv --quiet --python $(BIN)/python out/release/venv
	$(BIN)/uv pip install --quiet --python out/release/venv/bin/python -c constraints.txt --find-links out/release/dist \
		$(if $(LINKS),--find-links $(LINKS)) ragguard-defense $(notdir $(INTEGRATIONS))
	cd out/release && venv/bin/python -c "import ragguard, ragguard.defenses, langchain_ragguard, llama_index.retrievers.ragguard; \
		import haystack_integrations.components.rankers.ragguard; print(ragguard.__version__)" && venv/bin/ragguard --help >/dev/null

sbom: release
	$(BIN)/uv tool run --from cyclonedx-bom cyclonedx-py environment --pyproject pyproject.toml --mc-type library \
		--output-reproducible --output-file out/release/sbom.cdx.json out/release/venv/bin/python

findings:
	for each in findings/*.sh; do bash $$each || exit 1; done

nightly: setup
	$(if $(LINKS),UV_FIND_LINKS=$(LINKS)) $(INSTALL) -e '.[mutation,ray,stores]' -c constraints.txt
	$(BIN)/python -m pytest tests/test_ingest.py -k ray
	$(BIN)/python -m pytest integrations -m heavy
	RAGGUARD_TEST_CACHE= $(BIN)/python -m pytest -m measurement
	$(BIN)/python -m benchmarks.run --out out/nightly closed_form latency sql_store
	$(BIN)/python -m benchmarks.ratios --fresh out/nightly
	$(BIN)/python -m benchmarks.mutation --out out/nightly

clean:
	rm -rf $(VENV) out build dist
