# Every target first runs what is missing of `setup` or `setup-dev`. Only make and Python 3.11 or newer are required.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
CONFIG ?= configs/demo.yaml
SET ?=
ARGS ?=
RUNS ?= runs
CONFIGS ?=
BROWSER ?=

# Without bytecode, each of the many processes of the tests would compile all of the code.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
READY := .venv/.ready
READY_DEV := .venv/.ready-dev
OPTIONS = $(foreach override,$(SET),--set '$(override)') $(ARGS)
# One worker per core. pytest obeys the last -m and -n, so those in ARGS replace these.
PYTEST = $(BIN)/python -m pytest -n auto --dist worksteal
ALL := -m 'not slow and not gpu'
QUICK := -m 'not crash and not docs and not e2e and not thorough and not browser and not slow and not gpu'

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev lint format test test-all test-browser demo run features train-heads finetune report dashboard bench bench-gpu test-bounds gallery parity docs clean

help: ## list the targets
	@echo "make TARGET [CONFIG=configs/demo.yaml] [SET=\"key.path=value …\"] [ARGS=\"--dry-run …\"]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## create .venv with the project and all extras that it uses when it runs
setup-dev: $(READY_DEV) ## also install what lint, test and docs need

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found; set one: make setup PYTHON=/path/to/python3" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	@touch $@

$(READY_DEV): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev,docs]'
	@touch $@

lint: $(READY_DEV) ## run ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY_DEV) ## fix and format the code with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(READY_DEV) ## run the quick tests; ARGS="tests/pipeline -x" runs all tests of a path, ARGS="-m slow" those of a marker
	$(PYTEST) $(if $(filter tests/% ./tests/%,$(ARGS)),$(ALL),$(QUICK)) $(ARGS)

test-all: $(READY_DEV) ## run all tests but those marked slow or gpu
	$(PYTEST) $(ALL) $(ARGS)

test-browser: $(READY_DEV) ## test the report in a headless Chromium, installed on Debian; or in BROWSER=/path/to/one
	$(if $(BROWSER),AUDIOHEADS_BROWSER='$(BROWSER)') $(BIN)/python -m tests.browser.browsers
	$(if $(BROWSER),AUDIOHEADS_BROWSER='$(BROWSER)') AUDIOHEADS_SCREENSHOTS=build/screenshots \
		$(BIN)/python -m pytest tests/browser $(ARGS)

demo: $(READY) ## run the whole pipeline on synthetic sounds and print the results table; no download
	$(BIN)/audioheads run configs/demo-cnn.yaml $(OPTIONS)

run: $(READY) ## run all stages of CONFIG that are not finished
	$(BIN)/audioheads run '$(CONFIG)' $(OPTIONS)

features: $(READY) ## embed the clips of CONFIG (stage 1)
	$(BIN)/audioheads features '$(CONFIG)' $(OPTIONS)

train-heads: $(READY) ## train heads on the embeddings of CONFIG (stage 2)
	$(BIN)/audioheads train-heads '$(CONFIG)' $(OPTIONS)

finetune: $(READY) ## train the end-to-end models of CONFIG on the same folds
	$(BIN)/audioheads finetune '$(CONFIG)' $(OPTIONS)

report: $(READY) ## write the report of CONFIG (stage 3); CONFIGS="a.yaml b.yaml" combines several
	$(BIN)/audioheads report $(if $(CONFIGS),$(CONFIGS),'$(CONFIG)') $(OPTIONS)

dashboard: $(READY) ## show the training curves under RUNS (default: runs) in the browser; ARGS="--port 6007"
	$(BIN)/python -m pipeline.dashboard '$(RUNS)' $(ARGS)

bench: $(READY) ## measure speed, error and memory of stage 1 against the usual loops
	$(BIN)/python -m benchmarks $(ARGS)

bench-gpu: $(READY) ## check and measure stage 1 and training on a GPU, in eight minutes
	$(BIN)/python -m benchmarks.gpu $(ARGS)

gallery: $(READY) ## make the two reports of the documentation's gallery; needs ESC-10 and YAMNet, see docs/gallery.md
	$(BIN)/audioheads run demo --set name=gallery-demo --set dataset.clips_per_class=10
	$(BIN)/audioheads report demo --set name=gallery-demo --set dataset.clips_per_class=10 -o docs/gallery/demo --embed-audio
	$(BIN)/audioheads run esc10 $(OPTIONS)
	$(BIN)/audioheads report esc10 $(OPTIONS) -o docs/gallery/esc10

parity: $(READY) ## compare presets with their publishers' own code; ARGS="ge2e --weights ge2e=FILE"
	$(BIN)/python -m recipes.parity $(ARGS)

test-bounds: ## test the lowest and the newest versions that pyproject.toml allows; 6 GB at a time; ARGS="lowest" tests one
	$(PYTHON) -m tests.bounds $(ARGS)

docs: $(READY_DEV) ## build the documentation in site/ and check its links, without network
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "wrote site/index.html; with search: $(BIN)/python -m http.server -d site"

clean: ## remove build and tool files; keeps .venv, cache and runs
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
