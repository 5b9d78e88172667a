# What a newcomer and the CI run; every target makes .venv first, from the locked requirements.
#
#   make demo [ARGS=--once]     make test [ARGS=…]     make lint     make bench
#   make lock                   make clean
#
# PYTHON=/path/to/python chooses the interpreter that .venv is made with.

PYTHON ?=
ARGS ?=

VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin

# Settings of the person's own shell must not reach the tests.
OWN_SETTINGS := ^((SEDA|DAGSTER|PG|OPENAI|COHERE|SENTRY|POSTHOG|FCM)[A-Z0-9_]*)=.*
WITHOUT_SETTINGS = env $$(env | sed -En 's/$(OWN_SETTINGS)/-u \1/p')

.DEFAULT_GOAL := demo
.PHONY: demo test lint bench lock clean

demo: $(STAMP)
	@$(BIN)/seda demo $(ARGS)

test: $(STAMP)
	@$(WITHOUT_SETTINGS) $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(STAMP)
	@set -e; for benchmark in $(basename $(notdir $(wildcard benchmarks/*.py))); do \
	    echo "== $$benchmark"; $(BIN)/python -m "benchmarks.$$benchmark" $(ARGS); \
	done

lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	    --generate-hashes --no-strip-extras --no-emit-index-url --no-annotate \
	    --custom-compile-command "make lock" -o requirements.lock

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache \
	    .import_linter_cache .hypothesis
	find seda seda_assets serving tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last and names the folder: after an interrupted install, a moved checkout or
# a removed Python the environment is made again; after a change of the lock it is brought up to it.
FOUND := $(shell cat $(STAMP) 2>/dev/null && $(BIN)/python -c '' 2>/dev/null && echo works)
ifneq "$(FOUND)" "$(CURDIR) works"
.PHONY: $(STAMP)
MAKE_VENV = rm -rf $(VENV) && "$$python" -m venv $(VENV)
else
MAKE_VENV = true
endif

# A name on the PATH proves nothing (a version manager's shim may fail): each one is asked.
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

$(STAMP): requirements.lock pyproject.toml
	@python=; \
	if [ -n '$(PYTHON)' ]; then set -- '$(PYTHON)'; \
	else set -- python3.11 python3.12 python3.13 python3; fi; \
	for name; do \
	    if "$$name" -c '$(SUITABLE)' >/dev/null 2>&1; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "Python 3.11, 3.12 or 3.13 (with its venv module) was not found as $$*:" \
	        "install it, or say where it is with PYTHON=/path/to/python." >&2; \
	    exit 1; \
	fi; \
	echo "Installing the locked requirements into $(VENV) with $$python;" \
	    "the first time this takes a minute or three."; \
	$(MAKE_VENV) && rm -f $(STAMP) && \
	$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes \
	    -r requirements.lock && \
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps \
	    --no-build-isolation -e . && \
	echo '$(CURDIR)' >$(STAMP)
