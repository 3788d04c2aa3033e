# All that a newcomer, a developer and CI run. A bare Debian 12 or 13 needs `apt-get install git make` first; the rest
# installs itself as root (`make deps`). Everything that is made lies in .cache/ and dist/.

SHELL := /bin/bash
CACHE := $(CURDIR)/.cache
DIST ?= dist
# `make test` runs each scenario of a few minutes on one engine, `make test-full` on the other one, and the long ones on
# one as well; bootstrap needs tukit
SCENARIOS_tukit ?= trial bootstrap
SCENARIOS_snapper ?= default transaction activation
CONNECTION := $(wildcard tests/connection/test_*.py)
# what an engine can make a difference to runs on both of them; what takes minutes and seldom changes (the real dracut,
# packages of a driver, logins that are restricted) is left to test-full
BOTH_ENGINES := $(patsubst %,tests/connection/test_%.py,modules refusals role rollback)
LONG := $(patsubst %,tests/connection/test_%.py,initrd_role nvidia_role sudo)
INSIDE_tukit ?= $(filter-out $(LONG),$(CONNECTION))
INSIDE_snapper ?= $(BOTH_ENGINES)
FAULTS ?= --cuts 1 --faults controller-killed
FUZZ ?= quick
RECOVERY ?= --cuts 0 --faults kernel-panic
PYTHON := $(CACHE)/venv/bin/python
# plays run elsewhere; what is no file is a name or a URL
absolute = $(if $(wildcard $1),$(abspath $1),$1)
COLLECTION := $(CACHE)/collections/ansible_collections/microos/transactional

export PATH := $(CACHE)/venv/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(CACHE)/collections
export PYTHONDONTWRITEBYTECODE := 1
export TESTBED_STATE ?= $(CACHE)/testbed
export RUFF_CACHE_DIR := $(CACHE)/ruff
# CI often runs as root in a checkout of somebody else, where git refuses to work
export GIT_CONFIG_COUNT := 1
export GIT_CONFIG_KEY_0 := safe.directory
export GIT_CONFIG_VALUE_0 := *

.DEFAULT_GOAL := help
.PHONY: help deps build lint sanity unit fuzz host inside testbed molecule faults recovery test test-full demo demo-shell clean

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

demo: deps ## see it work: a VM is built and booted, a package installed, rolled back
	$(PYTHON) tests/demo/demo.py

demo-shell: deps ## log in to the demo's VM and play on
	$(PYTHON) tests/demo/demo.py --shell

test: deps ## all gates: build lint unit fuzz sanity host inside testbed molecule faults recovery
	@$(PYTHON) tests/gates.py

# What comes after the close of a transaction has little to do with the engine: half of the bad snapshots do for one
test-full: deps ## what make test leaves out: more scenarios, every fault and 50 power cuts, on both engines
	@SCENARIOS_tukit="hardware default transaction activation" SCENARIOS_snapper="update health_check trial" \
	INSIDE_tukit="$(LONG)" INSIDE_snapper="$(filter-out $(BOTH_ENGINES),$(CONNECTION))" HOST_tukit="--both-engines -m=once tests/host" FUZZ=thorough \
	FAULTS="--cuts 15 --faults all" RECOVERY_tukit="--cuts 10 --faults all" RECOVERY_snapper="--cuts 10 --faults half" \
	$(PYTHON) tests/gates.py --hours 3 --full

deps: ## install what the other targets need
	@.ci/deps

build: deps ## the collection's tarball, in dist/, and a try to install it
	rm -f $(DIST)/microos-transactional-*.tar.gz
	ansible-galaxy collection build --output-path $(DIST)
	@set -e; root=$$(mktemp -d); trap 'rm -rf $$root' EXIT; export ANSIBLE_COLLECTIONS_PATH=$$root; \
	ansible-galaxy collection install --offline $(DIST)/microos-transactional-*.tar.gz

lint: deps ## ruff, yamllint, shellcheck, ansible-lint, changelog, module documentation
	ruff check
	yamllint --strict .
	git ls-files -coz --exclude-standard | xargs -0 grep -lszP '\A#!.*\b(ba)?sh\b' | xargs shellcheck
	antsibull-changelog lint
	ansible-lint --offline --profile production
	cd $(COLLECTION) && antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck .

sanity: deps ## ansible-test sanity, on every Python that is here
	@.ci/sanity

unit: deps ## pure tests, in seconds
	pytest tests/unit

fuzz: deps ## broken, hostile and huge input for every parser, in seconds (FUZZ=thorough: minutes, new examples each time)
	pytest tests/fuzz --hypothesis-profile=$(FUZZ)

host: host-tukit host-snapper ## the engines on a real btrfs, no VM
host-%: deps
	$(PYTHON) tests/host/run --engine $* $(HOST_$*)

testbed: deps ## the test VMs themselves
	pytest tests/testbed

inside: inside-tukit inside-snapper ## plays inside of transactions, over a real sshd, no VM
inside-%: deps
	$(PYTHON) tests/host/run --engine $* $(INSIDE_$*)

molecule: molecule-tukit molecule-snapper ## the scenarios on a VM
molecule-%: export TESTBED_ENGINE = $*
molecule-%: deps
	failed=; for scenario in $(or $(SCENARIOS),$(SCENARIOS_$*)); do \
	MOLECULE_EPHEMERAL_DIRECTORY=$(TESTBED_STATE).molecule-$*-$$scenario \
	molecule test --no-command-borders --scenario-name $$scenario || failed+=" $$scenario"; done; \
	[ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }
molecule-microos: export TESTBED_ENGINE = tukit
molecule-microos: SCENARIOS = microos
molecule-microos: export TESTBED_IMAGE := $(call absolute,$(TESTBED_IMAGE))
molecule-microos: export TESTBED_IMAGE_KEY := $(call absolute,$(TESTBED_IMAGE_KEY))
molecule-microos: deps ## the scenario on a real MicroOS image, TESTBED_IMAGE (not part of make test)

faults: faults-tukit faults-snapper ## a play on a VM is disturbed: power cuts, killed processes, a full disk
faults-%: deps
	$(PYTHON) tests/faults/faults.py --engine $* $(FAULTS)

recovery: recovery-tukit recovery-snapper ## a VM is rebooted into bad snapshots, on trial
recovery-%: deps
	$(PYTHON) tests/faults/recovery.py --engine $* $(or $(RECOVERY_$*),$(RECOVERY))

clean: ## remove all that was made
	rm -rf .cache dist .ansible
