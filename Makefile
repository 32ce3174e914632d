# Every verb brings what it needs first; `make help` lists them.
.DEFAULT_GOAL := help
BIN := .venv/bin

.PHONY: help setup test proofs bench perf faults lint format report clean

help:  ## list the verbs
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

setup:  ## bring everything that is missing; the second time this does nothing
	@scripts/setup

bench: setup  ## the main job: a surge offloaded to each language in turn, then the comparison
	@$(BIN)/bench run
	@$(BIN)/bench compare

test:  ## bring everything, then lint, check types and run the tests
	@scripts/setup tests
	@$(MAKE) --no-print-directory lint
	@nice $(BIN)/pytest -m "beside and not proof" >.cache/beside.log 2>&1 & beside=$$!; failed=0; \
	trap 'kill $$beside; exit 130' INT TERM; \
	$(BIN)/pytest -m "not beside and not proof" --durations=40 --durations-min=4 || failed=1; \
	wait $$beside || failed=1; cat .cache/beside.log; exit $$failed

proofs:  ## what the tests show by examples, many more times over
	@scripts/setup tests
	$(BIN)/pytest -m proof

lint: setup  ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: setup  ## put the Python code into its one format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

PERF := functions.speed bench.perf.calls bench.perf.service bench.perf.offload bench.perf.beside
perf: setup  ## what our own code costs, each figure beside its aim; fails if one is missed
	@missed=0; for what in $(PERF); do $(BIN)/python -m $$what || missed=1; done; exit $$missed

faults: setup  ## break each of some 30 things in the middle of a surge, once, and say what was lost
	$(BIN)/bench faults

report: setup  ## tables, plots and one HTML page from the newest runs in results/
	$(BIN)/bench report

clean:  ## remove what was built; what set-up brought and the records in results/ stay
	rm -rf .aws-sam .mypy_cache .ruff_cache .pytest_cache report *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -not -path './.runtimes/*' -prune -exec rm -rf {} +
