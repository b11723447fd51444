# Everything a person or a machine does with this repository. `make` alone lists it.

PY := .venv/bin/python
# The first Python that is new enough; a version manager's shim that answers with an error is passed over.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore

.DEFAULT_GOAL := help
.PHONY: help setup run demo tour test test-all lint acceptance acceptance-sabotage bench sweep psql books give-access access end-suspense refund receipts card-statement ledger-verify test-purchase logs reset migrate terraform-check lock deploy rollback rotate restore destroy doctor health clean \
	node-key node-add node-list node-check node-compare node-drain

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.ready ## make .venv and install what is pinned (every target that needs it does this by itself)

.venv/.ready: requirements.txt requirements-dev.txt xray_api/requirements.txt
	@test -n "$(PYTHON)" || { echo "Atlas needs Python 3.11 or newer and found none." >&2; \
		echo "Debian, Ubuntu: apt-get install python3 python3-venv    macOS: brew install python" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) can't make virtual environments here." >&2; \
		echo "Debian, Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || rm -rf .venv
	@test -x $(PY) || { echo "making .venv with $$($(PYTHON) --version) ..."; $(PYTHON) -m venv .venv; }
	@echo "installing what is pinned (once; about a minute) ..." >&2
	@$(PY) -m pip install --quiet -r requirements-dev.txt
	@touch $@

.venv/.ready-deploy: .venv/.ready requirements-deploy.txt
	@echo "installing what the commands for a deployed system need ..." >&2
	@$(PY) -m pip install --quiet -r requirements-deploy.txt
	@touch $@

.venv/.ready-test: .venv/.ready requirements-test.txt requirements-deploy.txt
	@echo "installing what tests need ..."
	@$(PY) -m pip install --quiet -r requirements-test.txt
	@touch $@

.venv-clients/.ready: tests/sandbox/cryptopay/clients/requirements.txt | .venv/.ready
	@echo "installing other people's Crypto Pay clients, for the tests ..."
	@.venv-clients/bin/python -c '' 2>/dev/null || { rm -rf .venv-clients; $(PY) -m venv .venv-clients; }
	@.venv-clients/bin/python -m pip install --quiet -r $<
	@touch $@

.venv-store/.ready: tests/integration/off_site/requirements.txt | .venv/.ready
	@echo "installing an S3 of one's own, for the tests ..."
	@.venv-store/bin/python -c '' 2>/dev/null || { rm -rf .venv-store; $(PY) -m venv .venv-store; }
	@.venv-store/bin/python -m pip install --quiet -r $<
	@touch $@

.venv-lock/.ready: infra/requirements-lock.txt | .venv/.ready
	@echo "installing what finds files' hashes ..." >&2
	@.venv-lock/bin/python -c '' 2>/dev/null || { rm -rf .venv-lock; $(PY) -m venv .venv-lock; }
	@.venv-lock/bin/python -m pip install --quiet -r $<
	@touch $@

run: .venv/.ready ## the whole system on this machine, a chat with the bot in the browser; with TELEGRAM_BOT_TOKEN the real Telegram; Ctrl-C ends it
	@$(PY) -m sandbox run $(ARGS)

demo: .venv/.ready ## one whole customer life on real parts, told line by line, every step checked
	@$(PY) -m sandbox demo $(ARGS)

tour: .venv/.ready-test ## play one customer's life in a real browser, with a picture of each step (docs/screens/)
	@$(PY) -m sandbox tour $(ARGS)

test: lint terraform-check .venv-clients/.ready .venv-store/.ready ## lint, types, Terraform, unit, integration, end to end; of the stand-ins' breadth what changed
	@$(PY) -m sandbox.commands.browser
	@$(PY) -m tests.side_by_side $(ARGS)

test-all: lint terraform-check .venv-clients/.ready .venv-store/.ready ## the long sizes, every cell and the stand-ins' whole breadth as well (before a release)
	@$(PY) -m sandbox.commands.browser
	@$(PY) -m tests.side_by_side --all $(ARGS)

lint: .venv/.ready-test ## rules, format, types, and who may import whom
	@$(PY) -m ruff check --quiet .
	@$(PY) -m ruff format --quiet --check .
	@$(PY) -m mypy .
	@.venv/bin/lint-imports --no-logo

acceptance: .venv/.ready-test ## the acceptance list with its tests (ISSUE=main: of one issue)
	@$(PY) -m tests.acceptance list $(if $(ISSUE),--issue $(ISSUE))

acceptance-sabotage: .venv/.ready-test .venv-store/.ready ## break each property on purpose; its tests must turn red (IDS="S0-2 N-3": these only; SHARD=1/4: a quarter of them)
	@$(PY) -m tests.acceptance sabotage $(if $(SHARD),--shard $(SHARD)) $(IDS)

simulate: .venv/.ready ## the long run: a whole shop for many days from one seed, with all that can go wrong (DAYS=10 CUSTOMERS=100 SEED=1); again by the same seed
	@$(PY) -m simulation --days "$(or $(DAYS),10)" --customers "$(or $(CUSTOMERS),100)" --seed "$(or $(SEED),1)" --report ".local/simulation/seed-$(or $(SEED),1).html" $(ARGS)

bench: .venv/.ready-test ## measure, and write bench/results/
	@$(PY) -m bench $(ARGS)

sweep: .venv/.ready ## run a sweep of the running system now (NAME=expiry)
	@$(PY) -m sandbox sweep $(NAME)

# A shell may have an ENV of its own (sh reads a file of that name): it counts when it was said to make, and then an empty one, too.
PSQL_ENV = $(filter command,$(firstword $(origin ENV)))
psql: .venv/.ready $(if $(PSQL_ENV),.venv/.ready-deploy) ## a prompt in the running system's database; ENV=prod, dev, local: to read there, as yourself (ROLE=owner REASON=...: to change; wants the project's id typed, or CONFIRM=<PROJECT>)
	@$(if $(PSQL_ENV),$(PY) -m infra.psql --env "$(ENV)" --role "$(ROLE)" --reason "$$REASON" --confirm "$$CONFIRM",$(PY) -m sandbox psql)

books: .venv/.ready-deploy ## what the books say, changing nothing (ENV=prod [AT=2026-11-30T03:00:00Z MONTH=2026-11] [ACCOUNT="clearing:cryptobot USDT" | CUSTOMER=7 | ORDER=7 | CHARGE=cryptobot:17] [CSV=folder] [ARGS=--json])
	@$(PY) -m infra.books --env "$(ENV)" --at "$$AT" --month "$$MONTH" --account "$$ACCOUNT" --customer "$$CUSTOMER" --order "$$ORDER" --charge "$$CHARGE" --csv "$$CSV" $(ARGS)

give-access: .venv/.ready-deploy ## give a customer access by hand, once (ENV=prod ACCOUNT=7 TARIFF=basic DAYS=30 OPERATOR=<Telegram id> REASON="..." ONCE=<a ticket's number>)
	@$(PY) -m infra.give_access --env "$(ENV)" --account "$$ACCOUNT" --tariff "$$TARIFF" --days "$$DAYS" --operator "$$OPERATOR" --reason "$$REASON" --once "$$ONCE"

access: .venv/.ready-deploy ## change a customer's access by hand, once; a dry run without CONFIRM (ENV=prod ACCOUNT=7 CHANGE=grant|reissue|freeze|thaw|revoke|ban|unban [TARIFF=basic DAYS=30] OPERATOR=<Telegram id> REASON="..." ONCE=<a ticket's number> CONFIRM=<ACCOUNT>)
	@$(PY) -m infra.access --env "$(ENV)" --account "$$ACCOUNT" --change "$$CHANGE" --tariff "$$TARIFF" --days "$$DAYS" --operator "$$OPERATOR" --reason "$$REASON" --once "$$ONCE" --confirm "$$CONFIRM"

end-suspense: .venv/.ready-deploy ## end what lies in suspense, once; a dry run without CONFIRM (ENV=prod EVENT=7 HOW=assign|credit|given-back|paid-back|paid-out|owners ORDER= ACCOUNT= WORTH="149 RUB" PAID= FEE= CONFIRM=<EVENT> OPERATOR=<Telegram id> REASON="...")
	@$(PY) -m infra.end_suspense --env "$(ENV)" --event "$$EVENT" --how "$$HOW" --order "$$ORDER" --account "$$ACCOUNT" --worth "$$WORTH" --paid "$$PAID" --fee "$$FEE" --confirm "$$CONFIRM" --operator "$$OPERATOR" --reason "$$REASON"

stored: .venv/.ready-deploy ## stored work without the bot: the list; run one again or give it up, a dry run without CONFIRM (ENV=prod [WHAT=update|event|message NUMBER= HOW=run-again|give-up OPERATOR=<Telegram id> REASON="..." CONFIRM=<NUMBER>])
	@$(PY) -m infra.stored --env "$(ENV)" --what "$$WHAT" --number "$$NUMBER" --how "$$HOW" --operator "$$OPERATOR" --reason "$$REASON" --confirm "$$CONFIRM"

refund: .venv/.ready-deploy ## a payment goes back, once; a dry run without AMOUNT (ENV=prod ORDER=7|EVENT=9 HOW=provider|wallet|balance|bank|chargeback ACCESS=keep|end PAID= FEE= AMOUNT="149.00 RUB" OPERATOR=<Telegram id> REASON="...")
	@$(PY) -m infra.refund --env "$(ENV)" --order "$$ORDER" --event "$$EVENT" --how "$$HOW" --access "$$ACCESS" --paid "$$PAID" --fee "$$FEE" --amount "$$AMOUNT" --operator "$$OPERATOR" --reason "$$REASON"

receipts: .venv/.ready-deploy ## what an accountant is told of some days, as a file; what was due of them counts as told (ENV=prod FROM=2026-01-01 TO=2026-01-31 OUT=<a file>)
	@$(PY) -m infra.write_receipts --env "$(ENV)" --from "$$FROM" --to "$$TO" --out "$$OUT" --form "$$FORM"

card-statement: .venv/.ready-deploy ## take up a card provider's statement: what was never heard of, fees, refunds, payouts; then compare it (ENV=prod FILE=<a CSV file> FROM= TO= OPERATOR=<Telegram id> DRY_RUN=1)
	@$(PY) -m infra.card_statement --env "$(ENV)" --file "$$FILE" --from "$$FROM" --to "$$TO" --operator "$$OPERATOR" --dry-run "$$DRY_RUN"

ledger-verify: .venv/.ready-deploy ## check the copy of the books off site, by the bucket alone (FROM=s3://bucket/folder, a key that reads in LEDGER_EXPORT_KEY; AGAINST=DATABASE_URL, the variable's name, or ENV=prod: row for row with the books)
	@$(PY) -m infra.ledger_verify --from "$(FROM)" --against "$(AGAINST)" --env "$(if $(PSQL_ENV),$(ENV))" --known "$(KNOWN)" $(ARGS)

test-purchase: .venv/.ready-deploy ## buy with provider `test`, outside prod only, once (ENV=dev ACCOUNT=7 TARIFF=basic DAYS=30 ONCE=<a name>)
	@$(PY) -m infra.synthetic_purchase --env "$(ENV)" --account "$$ACCOUNT" --tariff "$$TARIFF" --days "$$DAYS" --once "$$ONCE" --give-back "$$GIVE_BACK"

logs: .venv/.ready ## follow every log of the running system
	@$(PY) -m sandbox logs

reset: .venv/.ready ## forget the local system's state (.local/, .local-real/)
	@$(PY) -m sandbox reset

migrate: .venv/.ready ## migrate the database that MIGRATE_DATABASE_URL or DATABASE_URL names
	@$(PY) -m lib.migrate

# What is given to these commands goes by the environment, where no blank or quote has a meaning; and of it, what was given to make
# alone: the shell has an ENV, and some machines a NAME, of their own.
NODE_WORDS := ENV NAME URL PIN COUNTRY CITY_RU CITY_EN TAGS WEIGHT UPDATE UNDO OPERATOR REASON
NODES = @env $(foreach word,$(NODE_WORDS),$(if $(filter command,$(firstword $(origin $(word)))),,-u $(word))) $(PY) -m infra.nodes

node-key: .venv/.ready-deploy ## print the API key of a VPN node, for standard input of what sets it up (ENV=prod NAME=de1)
	$(NODES) key

node-add: .venv/.ready-deploy ## ask a VPN node, then add it (ENV= NAME= URL= PIN= COUNTRY= CITY_RU= CITY_EN= [TAGS= WEIGHT=]; UPDATE=1 changes one)
	$(NODES) add

node-list: .venv/.ready-deploy ## the VPN nodes and what they hold (ENV=prod)
	$(NODES) list

node-check: .venv/.ready-deploy ## ask every VPN node, by pin and key; fails when one is not well (ENV=prod, NAME=de1: that one)
	$(NODES) check

node-compare: .venv/.ready-deploy ## what every VPN node holds against what Postgres wants there: the dry run of sweep_reconcile (ENV=prod, NAME=de1: that one)
	$(NODES) compare

node-drain: .venv/.ready-deploy ## take customers off a VPN node, each once another node has them (ENV=prod NAME=de1 OPERATOR=<Telegram id> REASON="..."; UNDO=1 takes it back)
	$(NODES) drain

terraform-check: .venv/.ready-test ## Terraform: format, validation, tests, policies, tables of variables; no cloud needed
	@$(PY) -m infra.terraform.check

lock: .venv/.ready .venv-lock/.ready ## infra/requirements.lock anew: requirements.txt with the hashes of every file, for the image; after each change of it
	@$(PY) -m infra.lock

deploy: .venv/.ready-deploy ## from this checkout to a running shop, and each release after it (ENV=prod; YES=1: ask nothing); stop it and start it again as you like
	@$(PY) -m infra.deploy deploy --env "$(ENV)" $(if $(filter 1,$(YES)),--yes)

rollback: .venv/.ready-deploy ## the release before serves again, without a build (ENV=prod; RELEASE=: that one)
	@$(PY) -m infra.deploy rollback --env "$(ENV)" $(if $(filter 1,$(YES)),--yes) $(if $(RELEASE),--release "$(RELEASE)")

rotate: .venv/.ready-deploy ## another value of a secret (ENV=prod NAME=HEALTH_KEY), stored unseen; PART=finish, PART=disable: docs/runbooks/rotate-secrets.md
	@$(PY) -m infra.rotate --env "$(ENV)" --name "$(NAME)" --part "$(PART)" $(if $(filter 1,$(YES)),--yes)

restore: .venv/.ready-deploy ## the database as it was at a moment, under a new name, in force (ENV=prod TO=atlas-2 AT=2026-11-30T03:20:00Z; wants TO typed again, or CONFIRM=atlas-2)
	@$(PY) -m infra.restore --env "$(ENV)" --to "$(TO)" --at "$(AT)"

destroy: .venv/.ready-deploy ## take an environment down, in order, and name what stays (ENV=dev; wants the project's id typed, or CONFIRM=<PROJECT>)
	@$(PY) -m infra.deploy destroy --env "$(ENV)" $(if $(filter 1,$(YES)),--yes)

doctor: .venv/.ready-deploy ## look at everything that a shop stands on, change nothing, say what is wrong (ENV=local; ARGS=--json)
	@$(PY) -m infra.doctor --env "$(ENV)" $(ARGS)

health: .venv/.ready-deploy ## what health answers to its key, which is not shown: ages, sweeps, reasons when it is red (ENV=prod)
	@$(PY) -m infra.health --env "$(ENV)"

clean: ## remove .venv and every cache; .local/ stays (make reset)
	@rm -rf .venv .venv-clients .venv-lock .venv-store .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
	@find . -name __pycache__ -type d -not -path './.venv*/*' -prune -exec rm -rf {} +
