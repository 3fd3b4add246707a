# `make` lists the targets. Needed: make, Python 3.11 or newer with venv, and PyPI. Everything else
# goes into .venv, which follows pyproject.toml.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet
# Pythons to make .venv with, the first that is new enough: `make PYTHON=/path/to/python3` names one.
PYTHON ?= python3 python3.13 python3.12 python3.11
# More for pytest: `make test ARGS='-k frame'`.
ARGS ?=
GENERATE := generate python -o libvirt_proto/generated
# Seconds for each fuzz target, and which of them: `make fuzz TIME=300 TARGETS='pcap generator'`.
TIME ?= 30
TARGETS ?=
# Processes of a mutation run.
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
CAPTURE := tests/captures/virsh-domname.pcap

.DEFAULT_GOAL := help
.PHONY: help demo test snapshots soak check static fuzz mutate bench bench-compare generate release-definitions format clean
.DELETE_ON_ERROR:

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 27

# Prints a command as a user would type it, then runs it.
define show
@printf '\n$$ %s\n' '$(1)'
@PATH="$(CURDIR)/$(BIN):$$PATH" $(1)
endef

demo: $(VENV)/run.stamp ## Decode a real capture and generate the tapset into demo/
	$(call show,libvirt-proto decode --format monitor $(CAPTURE))
	$(call show,libvirt-proto decode --format pretty --procedure domain_lookup_by_id $(CAPTURE))
	$(call show,libvirt-proto generate systemtap -o demo)
	$(call show,wc -l demo/libvirt_functions.stp)

test: $(VENV)/test.stamp ## Run the whole test suite; tests that need a tool of the system say so and skip
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

snapshots: $(VENV)/test.stamp ## Write the snapshots of the public API and of the commands' output again
	$(BIN)/python -m tests.snapshots.snapshots

soak: $(VENV)/test.stamp ## Compare a million values and a million mutated byte strings with rpcgen's C
	$(BIN)/python -m tests.differential.soak $(ARGS)

check: static ## Everything that must hold: static checks, then the tests with branch coverage
	$(MAKE) --no-print-directory test ARGS='--cov $(ARGS)'

static: $(VENV)/dev.stamp ## Format, lint, types, import contracts, drift of generated files
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/libvirt-proto $(GENERATE) --check

fuzz: $(VENV)/fuzz.stamp ## Fuzz every reader, parser and the generator for TIME seconds each (30), or TARGETS
	$(BIN)/python -m tests.fuzz --time $(TIME) $(TARGETS)

mutate: $(VENV)/mutate.stamp ## Change the codec, messages and the Python target, and say what no test notices
	$(BIN)/python -m tests.mutation --jobs $(JOBS)

generate: $(VENV)/run.stamp ## Write the generated modules again
	$(BIN)/libvirt-proto $(GENERATE)

release-definitions: $(VENV)/run.stamp ## Take in a release: SOURCE=libvirt-12.7.0.tar.xz RELEASE=12.7.0
	@if [ -z "$(SOURCE)" ] || [ -z "$(RELEASE)" ]; then \
	    echo 'usage: make release-definitions SOURCE=libvirt-12.7.0.tar.xz RELEASE=12.7.0' >&2; \
	    echo 'SOURCE: a source tree, a release archive, or a folder of .x and .d files of libvirt.' >&2; \
	    echo 'SAME=12.7.0:12.8.0, if you like: no declaration changed between these.' >&2; \
	    exit 2; \
	fi
	$(BIN)/libvirt-proto import '$(SOURCE)' --release '$(RELEASE)' $(SAME:%=--same '%')
	$(BIN)/libvirt-proto $(GENERATE)
	$(BIN)/python tools/changelog_entry.py '$(RELEASE)'
	@echo
	@echo 'CHANGELOG.md says what is new. What is left to do: make check, and a commit.'

format: $(VENV)/dev.stamp ## Format the code and mend what the linter can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/bench.stamp ## Measure speed beside peers, write docs/performance.md; ARGS=--quick: in a minute
	@$(BIN)/python -m tools.bench $(ARGS)

bench-compare: $(VENV)/bench.stamp ## Measure this tree beside another revision: make bench-compare BASE=REV
	@$(BIN)/python -m tools.bench.compare $(BASE) $(ARGS)

clean: ## Remove .venv and all that was built
	rm -rf $(VENV) build dist demo .coverage .coverage.* .fuzz .mutate .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What .venv holds: the package; with what the tests, the static checks, fuzzing, mutating, benchmarks need.
$(VENV)/run.stamp: pyproject.toml | $(BIN)/python
	@echo 'Installing into $(VENV)'
	@$(PIP) 'pip>=25.1' # the first that knows dependency groups
	@$(PIP) --editable .
	@touch $@

STAMPS := $(patsubst %,$(VENV)/%.stamp,test dev bench fuzz mutate)
$(STAMPS): $(VENV)/%.stamp: pyproject.toml | $(VENV)/run.stamp
	@$(PIP) --editable . --group $*
	@touch $@

$(BIN)/python:
	@for python in $(PYTHON); do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	    version=$$($(firstword $(PYTHON)) --version 2>/dev/null || echo not there); \
	    echo "libvirt-proto needs Python 3.11 or newer; $(firstword $(PYTHON)) is $$version." >&2; \
	    echo 'Another one is named by: make PYTHON=/path/to/python3' >&2; \
	    exit 1; \
	fi; \
	if ! $$found -c 'import ensurepip, venv' 2>/dev/null; then \
	    case $$found in python3.*) package=$$found-venv ;; *) package=python3-venv ;; esac; \
	    echo "$$found cannot make virtual environments. On Debian and Ubuntu: apt-get install $$package" >&2; \
	    exit 1; \
	fi; \
	$$found -m venv --clear $(VENV)
