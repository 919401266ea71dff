# `make` lists the targets, each with the comment after its `##`.
# A variable may stand before or after `make`: N_ITER=20 make model-train-flow, or make model-train-flow N_ITER=20.

PY := .venv/bin/python
# Newer than the lock when .venv holds what the lock says. Nothing that works through Docker alone depends on it.
ENVIRONMENT := .venv/.from-lock
# Where the stack is in containers there may be no .venv.
STATE = $(firstword $(wildcard $(PY)) python3) -m tools.state.backup
QUICK_TESTS := not slow and not nightly and not compose
EXPORT := .venv/bin/uv export --frozen --quiet --no-hashes --no-annotate --no-header
export COMPOSE_UP ?= docker compose up --build --wait
# Where it is set, as in many containers, every service and every test's process would compile its libraries anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run status logs stop passwords clean reset model-train-flow evidently-report-flow log-verification-flow score outcomes training-data dataset \
	propose approve rollback adopt approvals api-key batch-score verify-log backup restore upgrade evaluate bench test test-slow test-nightly test-all coverage test-compose test-deploy deploy-tools chaos audit leaks parts lint format panels notebook requirements

help: ## This list
	@awk -F ':.*## ' '/^### /{printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## /{printf "  make %-22s %s\n", $$1, $$2}' Makefile

$(ENVIRONMENT): uv.lock
	@tools/setup.sh

### The stack on this machine
setup: $(ENVIRONMENT) ## Make .venv from uv.lock (every target that needs it does so by itself)
run: $(ENVIRONMENT) ## Start everything and stay; Ctrl-C stops everything (another port: MLFLOW_PORT=5052; other data: DATASET=credit_data)
	@exec $(PY) -m tools.stack run
status: $(ENVIRONMENT) ## Each service, its address and its state
	@$(PY) -m tools.stack status
logs: $(ENVIRONMENT) ## Follow the logs (of one service: make logs SERVICE=mlflow)
	@$(PY) -m tools.stack logs $(SERVICE)
stop: $(ENVIRONMENT) ## Stop what `make run` started in another terminal
	@$(PY) -m tools.stack stop
passwords: ## What to type where a page asks for a login
	@tools/dispatch.sh passwords python -m tools.access.passwords

### The work, on whichever stack runs: this machine's or docker compose's (both: say STACK=local or STACK=compose)
model-train-flow: ## Train, and follow the run to its end (fewer candidates: N_ITER=5)
	@tools/dispatch.sh training-worker python -m model_orchestration_and_tracking.run \
		credit-risk-training/sunday-night $${N_ITER:+--param "n_iter=$$N_ITER"}
evidently-report-flow: ## Report on the drift of recent decisions, and follow the run to its end
	@tools/dispatch.sh training-worker python -m model_orchestration_and_tracking.run evidently-report/every-3-hours
log-verification-flow: ## Seal, verify and anchor the decision log, as every night, and follow the run to its end
	@tools/dispatch.sh training-worker python -m model_orchestration_and_tracking.run log-verification/nightly
score: ## Decide on a file of clients without the page: FILE=clients.csv OUT=result.csv (REASONS=1: with reasons)
	@test -f "$$FILE" -a -n "$$OUT" || { echo 'make score needs both: FILE=clients.csv (there) OUT=result.csv' >&2; exit 2; }
	@tools/dispatch.sh risk-o-meter python -m model_deployment.score --name "$$(basename "$$FILE")" $${REASONS:+--reasons} \
		< "$$FILE" > "$$OUT.part"; \
		code=$$?; if [ -s "$$OUT.part" ]; then mv "$$OUT.part" "$$OUT"; else rm -f "$$OUT.part"; fi; exit $$code
batch-score: ## Score a whole portfolio, or go on with it: INPUT=portfolio/ OUTPUT=scored/ (KIND=decision ID=column REASONS=1)
	@test -n "$$INPUT" -a -n "$$OUTPUT" || \
		{ echo 'make batch-score needs both: INPUT=a file or folder of CSV or Parquet, OUTPUT=a folder' >&2; exit 2; }
	@tools/dispatch.sh scoring-worker python -m model_deployment.portfolio \
		$${KIND:+--kind "$$KIND"} $${ID:+--id "$$ID"} $${REASONS:+--reasons} $${PART_ROWS:+--part-rows "$$PART_ROWS"} "$$INPUT" "$$OUTPUT"
outcomes: ## Report outcomes, a file of decision_id or client_id, outcome and date: FILE=outcomes.csv
	@test -f "$$FILE" || { echo 'make outcomes needs a file that is there: FILE=outcomes.csv' >&2; exit 2; }
	@tools/dispatch.sh risk-o-meter python -m model_deployment.outcomes --name "$$(basename "$$FILE")" < "$$FILE"
training-data: ## Write what training takes next: DATA and accepted clients whose outcomes have matured
	@tools/dispatch.sh training-worker python -m credit_risk training-data
# Where users sign in, APPROVALS_TOKEN says who it is, and BY is not needed.
propose: ## Propose a version, for somebody else to approve: VERSION=3 REASON="why"
	@test -n "$$VERSION" -a -n "$$REASON" || { echo 'make propose needs both: VERSION=3 REASON="why"' >&2; exit 2; }
	@tools/dispatch.sh approver python -m credit_risk propose --version "$$VERSION" --reason "$$REASON"
approve: ## Make a version the one that decides: VERSION=3 BY="name" REASON="why" (FORCE=1: against advice)
	@test -n "$$VERSION" -a -n "$$BY$$APPROVALS_TOKEN" -a -n "$$REASON" || \
		{ echo 'make approve needs all three: VERSION=3 BY="your name" REASON="why"' >&2; exit 2; }
	@tools/dispatch.sh approver python -m credit_risk approve --version "$$VERSION" $${BY:+--by "$$BY"} \
		--reason "$$REASON" $${FORCE:+--force} $${BREAK_GLASS:+--break-glass}
rollback: ## Back to the version that decided before: BY="name" REASON="why" (past the approvals service: BREAK_GLASS=1)
	@test -n "$$BY$$APPROVALS_TOKEN" -a -n "$$REASON" || { echo 'make rollback needs both: BY="your name" REASON="why"' >&2; exit 2; }
	@tools/dispatch.sh approver python -m credit_risk rollback $${BY:+--by "$$BY"} \
		--reason "$$REASON" $${BREAK_GLASS:+--break-glass}
adopt: ## Note a version that training did not register, so that it can be approved: VERSION=3 BY="name" REASON="why"
	@test -n "$$VERSION" -a -n "$$BY$$APPROVALS_TOKEN" -a -n "$$REASON" || \
		{ echo 'make adopt needs all three: VERSION=3 BY="your name" REASON="why"' >&2; exit 2; }
	@tools/dispatch.sh approver python -m credit_risk adopt --version "$$VERSION" $${BY:+--by "$$BY"} \
		--reason "$$REASON" $${BREAK_GLASS:+--break-glass}
approvals: ## Which version decided when, and who said so
	@tools/dispatch.sh training-worker python -m credit_risk approvals
api-key: ## Make a key for the API, and print it once with its line for .env: NAME=branch-12 (DAYS=365)
	@test -n "$$NAME" || { echo 'make api-key needs to know whose it is: NAME=branch-12' >&2; exit 2; }
	@$(firstword $(wildcard $(PY)) python3) -m credit_risk.keys "$$NAME" $${DAYS:+--days "$$DAYS"}

### The state, of whichever stack runs, and else of this machine's (or say STACK=local or STACK=compose)
verify-log: ## Read the whole decision log, and name the first record that is missing or was changed
	@tools/dispatch.sh training-worker python -m credit_risk verify
backup: ## Copy databases, decision log, bucket, passwords and .env, while it runs or not: TO=/safe/place/2026-11-28
	@test -n "$$TO" || { echo 'make backup needs to know where to: TO=/safe/place/2026-11-28' >&2; exit 2; }
	@$(STATE) make "$$TO"
restore: ## Put a backup back: FROM=/safe/place/2026-11-28 (where there is a state that may go: CONFIRM=1)
	@test -n "$$FROM" || { echo 'make restore needs a backup: FROM=/safe/place/2026-11-28' >&2; exit 2; }
	@$(STATE) restore "$$FROM" $$(test "$$CONFIRM" = 1 && echo --replace)
upgrade: ## After an upgrade of uv.lock: back up (TO=backups/before-upgrade-TIME), migrate the databases, check
	@$(STATE) upgrade $$TO

### Checks
test: $(ENVIRONMENT) ## All tests that take seconds, and the whole stack once (arguments: ARGS="-k drift"; one at a time: ARGS=-n0)
	@$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "$(QUICK_TESTS) and not alone" $(ARGS)
	@$(PY) -m pytest -m "alone and $(QUICK_TESTS)" model_deployment $(ARGS) || test $$? -eq 5 # which is pytest's word for none
test-slow: $(ENVIRONMENT) ## Only the slow ones; some measure, so the machine is theirs
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "slow and not nightly and not alone" $(ARGS)
	@$(PY) -m pytest -m "alone and slow and not nightly" $(ARGS) || test $$? -eq 5
test-nightly: $(ENVIRONMENT) ## The longest, most of an hour: the day on other servers, long fuzzing, every benchmark; GitHub runs them each night
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "nightly and not alone" $(ARGS)
	@$(PY) -m pytest -m "alone and nightly" $(ARGS) || test $$? -eq 5
coverage: $(ENVIRONMENT) ## What `make test` runs, and how much of the code that is, lines and branches
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov -m "$(QUICK_TESTS)" $(ARGS)
test-all: test test-slow test-nightly ## All three
test-compose: $(ENVIRONMENT) ## Bring docker-compose.yml up and use it (by another command: COMPOSE_UP=...)
	@$(PY) -m pytest -m compose tests/compose $(ARGS)
test-deploy: $(ENVIRONMENT) ## Check what deploys it: Terraform, chart, policies, workflows
	@$(PY) -m pytest -n 2 --dist loadfile deploy/tests $(ARGS)
chaos: $(ENVIRONMENT) ## Break each service of a stack of its own under load (containers: STACK=compose; SERVICES=mlflow,mongo FAULTS=kill,pause)
	@$(PY) -m tools.chaos $${SERVICES:+--services "$$SERVICES"} $${FAULTS:+--faults "$$FAULTS"} $(ARGS)
lint: $(ENVIRONMENT) ## Style, spelling, types, and that lock and requirements.txt are up to date
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	git ls-files | xargs .venv/bin/codespell
	.venv/bin/mypy .
	.venv/bin/uv lock --check --offline
	$(EXPORT) | diff - requirements.txt
audit: $(ENVIRONMENT) ## What is known to be wrong with the packages of the lock (asks PyPI's advisory database)
	.venv/bin/uv tool run pip-audit@2.10.1 --requirement requirements.txt --no-deps --disable-pip --strict
leaks: ## Passwords and keys in the repository and its past (gitleaks, which `make parts` installs)
	gitleaks git --no-banner --redact .
format: $(ENVIRONMENT) ## Put the code into the style that lint wants
	.venv/bin/ruff check --fix
	.venv/bin/ruff format
dataset: $(ENVIRONMENT) ## Write a first definition of data of your own, for DATASET: FILE=clients.csv TARGET=column BAD=value (GOOD=value NAME=name)
	@test -f "$$FILE" -a -n "$$TARGET" -a -n "$$BAD" || \
		{ echo 'make dataset needs all three: FILE=clients.csv (there) TARGET=its column of outcomes BAD=its value for a bad client' >&2; exit 2; }
	@$(PY) -m data.draft --file "$$FILE" --target "$$TARGET" --bad "$$BAD" $${GOOD:+--good "$$GOOD"} $${NAME:+--name "$$NAME"} $(ARGS)
evaluate: $(ENVIRONMENT) ## How good the model is beside the usual ones, 10 x 10 folds, minutes (fewer: REPEATS=2 FOLDS=5; SEED=7; other data: DATASET=credit_data)
	@$(PY) -m model_orchestration_and_tracking.evaluate $${SEED:+--seed "$$SEED"} $${REPEATS:+--repeats "$$REPEATS"} $${FOLDS:+--folds "$$FOLDS"} $(ARGS)
bench: $(ENVIRONMENT) ## How fast it is beside the usual ways, held to bars (three minutes: QUICK=1; into docs/: ARGS=--docs)
	@$(PY) -m benchmarks $${QUICK:+--quick} $(ARGS)
panels: $(ENVIRONMENT) ## Draw the dashboards into docs/, of what the running Prometheus knows (MINUTES=20)
	@$(PY) -m tools.dashboards.panels $${MINUTES:+--minutes "$$MINUTES"} $(ARGS)
notebook: $(ENVIRONMENT) ## Run Model-development.ipynb from top to bottom (store its outputs: ARGS=--in-place)
	@$(PY) -m tools.notebook $(ARGS)
parts: ## Install what the tests use where it is there: Chromium, Prometheus, FerretDB, fake-gcs-server (Debian)
	@tools/install-parts.sh
deploy-tools: ## Install what `make test-deploy` uses where it is there: Terraform, Helm, conftest and the like (by Go)
	@tools/install-deploy-tools.sh

### Housekeeping
requirements: $(ENVIRONMENT) ## Write requirements.txt from uv.lock
	@$(EXPORT) > requirements.txt
clean: ## Remove .venv and caches; the state in var/ stays
	@! $(PY) -m tools.stack running 2>/dev/null || { echo 'it runs: `make stop` first' >&2; exit 1; }
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
	@find . -name __pycache__ -not -path './var/*' -prune -exec rm -rf {} +
reset: ## Remove all state, var/: databases, models, decisions, reports (CONFIRM=1)
	@test "$(CONFIRM)" = 1 || { echo 'removes every model, decision and report in var/: make reset CONFIRM=1' >&2; exit 2; }
	@! $(PY) -m tools.stack running 2>/dev/null || { echo 'it runs: `make stop` first' >&2; exit 1; }
	@rm -rf var
