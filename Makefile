# Every command a person types. A recipe is one line; what is longer lives in .ci/ or bin/.
VENV := .venv
RUN  := $(VENV)/bin
STAMP := $(VENV)/.stamp

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP)  ## make .venv and install everything the recorder needs (no-op when fresh)

$(STAMP): setup.cfg pyproject.toml .ci/constraints.txt .ci/setup
	@.ci/setup $(VENV) $(EXTRAS)

run: $(STAMP)  ## record the simulated venues into an embedded Postgres; needs no network
	@$(RUN)/tapedeck up

live: $(STAMP)  ## the same appliance on the real venues
	@$(RUN)/tapedeck --config live up

stop: $(STAMP)  ## stop the appliance, cleanly and all of it
	@$(RUN)/tapedeck down

status: $(STAMP)  ## what each program does now; exit code 0 only when healthy
	@$(RUN)/tapedeck status

logs: $(STAMP)  ## follow the logs of all programs
	@$(RUN)/tapedeck logs

psql: $(STAMP)  ## open a psql prompt in the recording database
	@$(RUN)/tapedeck psql

test: $(STAMP)  ## every test in its short form
	@.ci/test

lint: $(STAMP)  ## format, style, types, import layers
	@.ci/lint

test-analysis: $(STAMP)  ## install the analysis extra and run the tests of analysis/
	@.ci/test-analysis

notebook: $(STAMP)  ## open JupyterLab on notebooks/; installs the analysis extra when missing
	@.ci/notebook

check: lint test  ## what CI checks

faults: $(STAMP)  ## the fault tests in their long form
	@.ci/faults

bench: $(STAMP)  ## measure the hot path; prints a table
	@.ci/bench

schema: $(STAMP)  ## write sql/schema.sql anew from the migrations
	@$(RUN)/python bin/migrate --dump

clean:  ## remove the virtual environment and caches; recorded data in var/ stays
	@.ci/clean $(VENV)

.PHONY: help setup run live stop status logs psql test test-analysis notebook lint check faults bench schema clean
