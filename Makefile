# Every target first does what is missing of `setup`. Needs make and Python 3.11 or newer, nothing else.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
CONFIG ?= configs/demo.yaml
SET ?=
ARGS ?=
RUNS ?= runs
CONFIGS ?=
BROWSER ?=

BIN := .venv/bin
READY := .venv/.ready
OPTIONS = $(foreach override,$(SET),--set '$(override)') $(ARGS)
# One worker per core. pytest obeys the last -m and -n, so those in ARGS replace these.
PYTEST = $(BIN)/python -m pytest -n auto --dist worksteal
ALL := -m 'not slow and not gpu'
QUICK := -m 'not crash and not docs and not e2e and not browser and not slow and not gpu'

.DEFAULT_GOAL := help
.PHONY: help setup lint format test test-all test-browser demo run features train-heads finetune report dashboard bench docs clean

help: ## list the targets
	@echo "make TARGET [CONFIG=configs/demo.yaml] [SET=\"key.path=value …\"] [ARGS=\"--dry-run …\"]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## make .venv with the project and all its extras in it

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found; name one: make setup PYTHON=/path/to/python3" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	@touch $@

lint: $(READY) ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## let ruff fix and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(READY) ## run the quick tests; ARGS="tests/pipeline -x" runs all tests of a path, ARGS="-m slow" those of a marker
	$(PYTEST) $(if $(filter tests/% ./tests/%,$(ARGS)),$(ALL),$(QUICK)) $(ARGS)

test-all: $(READY) ## run all tests but those marked slow or gpu
	$(PYTEST) $(ALL) $(ARGS)

test-browser: $(READY) ## test the report in a headless Chromium, installed on Debian; or in BROWSER=/path/to/one
	$(if $(BROWSER),AUDIOHEADS_BROWSER='$(BROWSER)') $(BIN)/python -m tests.browser.browsers
	$(if $(BROWSER),AUDIOHEADS_BROWSER='$(BROWSER)') AUDIOHEADS_SCREENSHOTS=build/screenshots \
		$(BIN)/python -m pytest tests/browser $(ARGS)

demo: $(READY) ## the whole path on sounds made by code, no download; prints the results table
	$(BIN)/audioheads run configs/demo.yaml $(OPTIONS)

run: $(READY) ## all stages of CONFIG that are not done yet
	$(BIN)/audioheads run '$(CONFIG)' $(OPTIONS)

features: $(READY) ## stage 1 of CONFIG: embed the clips
	$(BIN)/audioheads features '$(CONFIG)' $(OPTIONS)

train-heads: $(READY) ## stage 2 of CONFIG: train heads on the embeddings
	$(BIN)/audioheads train-heads '$(CONFIG)' $(OPTIONS)

finetune: $(READY) ## models of CONFIG trained end to end, on the same folds
	$(BIN)/audioheads finetune '$(CONFIG)' $(OPTIONS)

report: $(READY) ## stage 3 of CONFIG: page and tables; CONFIGS="a.yaml b.yaml" for several in one page
	$(BIN)/audioheads report $(if $(CONFIGS),$(CONFIGS),'$(CONFIG)') $(OPTIONS)

dashboard: $(READY) ## show the training curves under RUNS (default: runs) in the browser; ARGS="--port 6007"
	$(BIN)/python -m pipeline.dashboard '$(RUNS)' $(ARGS)

bench: $(READY) ## compare stage 1 with the usual loops: ratios and errors
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(READY) ## build the documentation into site/, links checked, no network
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "wrote site/index.html; with search: $(BIN)/python -m http.server -d site"

clean: ## remove what builds and tools left; keeps .venv, cache and runs
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
