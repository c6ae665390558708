# OpenV from one command; `make` alone lists what there is.
.SILENT:
.PHONY: help setup run test browser sdks audit bench check fix lock clean

# A prompt reaches the command as it was typed: taken unexpanded here, handed over in the environment below.
override PROMPT := $(value PROMPT)
export PROMPT

help: ## List these commands
	awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' Makefile

setup: ## Make .venv and fetch the embedded servers; says what the machine lacks
	scripts/setup

run: setup ## Start everything; with PROMPT="..." also make a video of it
	if [ -n "$$PROMPT" ]; then exec .venv/bin/openv up --prompt="$$PROMPT"; else exec .venv/bin/openv up; fi

test: browser check sdks ## Run the checks and every test, on free ports
	.venv/bin/python -m pytest

browser: # what the tests need besides, said before anything else is done
	scripts/setup --tests --only-check

sdks: setup ## Fetch the SDKs of RunPod and OpenAI, which the tests run, into .sdks
	.venv/bin/python scripts/sdks.py

audit: setup ## Restart the stream processors TRIALS times under load and check every offset
	.venv/bin/python -m tests.audit --trials $(or $(TRIALS),300)

bench: sdks ## Measure speed as ratios against baselines of the same run; writes docs/benchmarks.md
	.venv/bin/python -m bench

check: setup ## Lint, formatting, types and import contracts
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

fix: setup ## Mend what the linter and the formatter can mend
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

lock: setup ## Pin the dependencies of pyproject.toml anew
	scripts/lock

clean: ## Delete .venv, .sdks and caches; the data in .openv stays
	rm -rf .venv .sdks .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -not -path './.openv/*' -prune -exec rm -rf {} +
