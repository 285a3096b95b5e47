# intercomd. `make` or `make help` lists the targets; README.md explains them.
SHELL := /bin/bash
PY := .venv/bin/python
export PYTHON

.PHONY: fuzz bench-hub image test-vm test-image help demo test lint pytest mutants bench bench-audio bench-page crash bench-recovery reference install uninstall clean setup-run setup-test setup-bench setup-platform test-nspawn bench-appliance
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

demo: setup-run ## a hub, a door and a flat station with a panel page (SCRIPTED=1 runs by itself, JSON=FILE)
	@$(PY) -m intercomd demo $(if $(SCRIPTED),--scripted) $(if $(JSON),--json '$(JSON)')

test: setup-test ## lint and every test (STRICT=1: a skip is a failure)
	@$(MAKE) --no-print-directory --keep-going lint pytest

lint: setup-test ## ruff, mypy --strict, import-linter, shellcheck
	@.ci/lint

pytest: setup-test
	@.ci/pytest $(ARGS)

mutants: setup-test ## plant each known mistake alone: some test must fail for each
	@$(PY) -m tests.mutants $(ARGS)

bench: setup-test ## measure; results in build/bench/
	@$(PY) -m tests.bench $(ARGS)

bench-audio: setup-bench ## the audio engine beside its peers, a quarter of an hour; figures and plots; needs root
	@$(PY) -m tests.bench $(or $(ARGS),audio)

bench-hub: setup-bench ## the hub beside Node's Socket.IO server, a quarter of an hour; figures and a plot
	@$(PY) -m tests.bench $(or $(ARGS),hub)

bench-recovery: setup-test ## cut, kill, hang and move what a call needs, and time its voice; needs root
	@$(PY) -m tests.bench $(or $(ARGS),recovery)

bench-page: setup-test ## measure the resident's page in Chromium
	@$(PY) -m tests.bench.page

fuzz: setup-test ## a million arbitrary messages to a hub (ARGS="COUNT SEED")
	@$(PY) -m tests.fuzz $(ARGS)

crash: setup-test ## cut the power at every instant of the store's life (SHORT=1: two minutes; SEED=N LEVEL=block|vfs|full)
	@$(PY) -m tests.crash $(if $(SHORT),--short) $(if $(SEED),--seed $(SEED)) $(if $(LEVEL),--level $(LEVEL)) \
		$(if $(WHERE_POSSIBLE),--where-possible)

test-nspawn: setup-platform ## the installed units under Debian 13's systemd, in containers; needs root
	@$(PY) -m tests.nspawn.tree
	@$(PY) -m pytest -W error tests/nspawn $(ARGS)

bench-appliance: setup-platform ## measure the installed appliance: start, memory, flash, exposure; needs root
	@$(PY) -m tests.bench appliance

image: setup-run ## the card of a Raspberry Pi, build/image/intercomd-VERSION-arm64.img.xz; needs root
	@$(PY) -m hw.image $(ARGS)

test-vm: setup-test ## the station on a whole machine with the shipped kernel, 25 minutes; needs root (ARGS=SCENE)
	@$(PY) -m tests.vm $(ARGS)

test-image: setup-test ## the card of `make image` boots and reads its configuration; needs root
	@$(PY) -m tests.image $(ARGS)

reference: setup-run ## rewrite README.md's configuration reference
	@$(PY) -m intercomd.config README.md

install: ## install on this machine as services (as root)
	@systemd/install

uninstall: ## take away what install put there; state and configuration stay
	@systemd/uninstall

clean: ## remove what was built; .venv stays
	@rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

setup-run:
	@.ci/setup run

setup-platform:
	@.ci/setup platform

setup-test:
	@.ci/setup test

setup-bench:
	@.ci/setup bench
