# Every command a person types. A recipe is one line; longer ones live in .ci/ or bin/.
VENV := .venv
RUN  := $(VENV)/bin
STAMP := $(VENV)/.stamp

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP)  ## create .venv and install everything the recorder needs (no-op when fresh)
	@$(RUN)/python -I .ci/assets.py

$(STAMP): setup.cfg pyproject.toml .ci/requirements.txt .ci/setup .ci/command
	@.ci/setup $(VENV) $(EXTRAS)

run: $(STAMP)  ## record the simulated venues into an embedded Postgres; needs no network
	@$(RUN)/tapedeck up

live: $(STAMP)  ## the same appliance on the real venues
	@$(RUN)/tapedeck --config live up

stop: $(STAMP)  ## stop every program of the appliance in order
	@$(RUN)/tapedeck down

status: $(STAMP)  ## show every program, its data and its lag; exit code 0 only when healthy
	@$(RUN)/tapedeck status

logs: $(STAMP)  ## follow the logs of all programs
	@$(RUN)/tapedeck logs

psql: $(STAMP)  ## open a psql prompt in the recording database
	@$(RUN)/tapedeck psql

doctor: $(STAMP)  ## check ports, disk, clock, rights, network, locks and versions
	@$(RUN)/tapedeck doctor

smoke: $(STAMP)  ## start, kill programs, verify, stop: a minute, in a folder of its own
	@.ci/smoke

test: $(STAMP)  ## run every test in its short form
	@.ci/test

test-integration: $(STAMP)  ## run the tests with real processes, sockets and databases (5 to 10 minutes)
	@.ci/test tests/integration tests/faults

lint: $(STAMP)  ## check format, style, types and import layers
	@.ci/lint

analysis: $(STAMP)  ## install the extra analysis: pandas, models, plots, notebooks
	@.ci/test-analysis --install

test-analysis: $(STAMP)  ## install the analysis extra and run the tests of analysis/
	@.ci/test-analysis

notebook: $(STAMP)  ## open JupyterLab on notebooks/; installs the analysis extra when missing
	@.ci/notebook

check: lint test  ## lint and test

faults: $(STAMP)  ## run the fault tests in their long form
	@.ci/faults

alerts: $(STAMP)  ## fire every rule of the watchdog, print how long each took; half an hour, alone on the machine
	@.ci/test -n 0 -s -m long tests/faults/alerts/test_every_rule.py tests/faults/alerts/test_answers.py

bench: $(STAMP)  ## measure everything against its limits; JSON=FILE keeps the results
	@.ci/bench $(if $(JSON),--json $(JSON))

bench-quick: $(STAMP)  ## a short form of bench, for before and after a change
	@.ci/bench --quick $(if $(JSON),--json $(JSON))

schema: $(STAMP)  ## write sql/schema.sql from the migrations
	@$(RUN)/python bin/migrate --dump

docs: $(STAMP)  ## write the pages of docs/ that are generated from the schema and the commands
	@$(RUN)/python docs/generate.py

dashboards: $(STAMP)  ## write the dashboards of Grafana from their code
	@.ci/dashboards

deploy: $(STAMP)  ## deploy to hosts and prove it: HOST=user@host, or INVENTORY=FILE (docs/deploy.md)
	@.ci/deploy site $(OPTIONS)

deploy-check: $(STAMP)  ## show what deploy would change, and change nothing
	@.ci/deploy site --check --diff $(OPTIONS)

rollback: $(STAMP)  ## go back to the release before the last deploy
	@.ci/deploy rollback $(OPTIONS)

undeploy: $(STAMP)  ## remove Tapedeck from its hosts; recorded data stays
	@.ci/deploy remove $(OPTIONS)

test-deploy: $(STAMP)  ## lint ansible/ and deploy to a test host of this machine (root and debootstrap needed)
	@.ci/test-deploy

exchanges: $(STAMP)  ## write the trading hours of exchanges from exchange_calendars; installs the analysis extra
	@.ci/test-analysis --install
	@$(RUN)/python -W ignore .ci/exchange_sessions.py

pins:  ## choose the newest packages and write their versions and hashes to .ci/requirements*.txt
	@.ci/pins $(VENV)

coverage: $(STAMP)  ## run the tests in their short form and write htmlcov/index.html
	@.ci/test --cov --cov-report=html --cov-report=term:skip-covered

clean:  ## remove the virtual environment and caches; recorded data in var/ stays
	@.ci/clean $(VENV)

.PHONY: help setup run live stop status logs psql doctor smoke test test-integration analysis test-analysis notebook lint check \
	faults alerts bench bench-quick deploy deploy-check rollback undeploy test-deploy schema docs dashboards exchanges \
	pins coverage clean
