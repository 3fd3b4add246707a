# `make` lists the targets. Requirements: make, Python 3.11 or newer with venv, and PyPI. Everything else
# is installed into .venv, as listed in pyproject.toml.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet
# Candidates for .venv's Python; the first that is new enough is used. Override: `make PYTHON=/path/to/python3`.
PYTHON ?= python3 python3.13 python3.12 python3.11
# Extra arguments, such as pytest's: `make test ARGS='-k frame'`.
ARGS ?=
GENERATE := generate python -o libvirt_proto/generated
# Seconds per fuzz target, and the targets (default: all): `make fuzz TIME=300 TARGETS='pcap generator'`.
TIME ?= 30
TARGETS ?=
# The Debian release of `make bare`; default: the installed one.
SUITE ?=
# Processes of a mutation run.
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
CAPTURE := tests/captures/virsh-domname.pcap

.DEFAULT_GOAL := help
.PHONY: help demo test test-releases native native-platforms sanitize full bare snapshots soak check static fuzz mutate bench bench-compare generate release-definitions format clean
.DELETE_ON_ERROR:

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 27

# Print a command as a user would type it, and run it.
define show
@printf '\n$$ %s\n' '$(1)'
@PATH="$(CURDIR)/$(BIN):$$PATH" $(1)
endef

demo: $(VENV)/run.stamp ## Decode a real capture and generate the tapset into demo/
	$(call show,libvirt-proto decode --format monitor $(CAPTURE))
	$(call show,libvirt-proto decode --format pretty --procedure domain_lookup_by_id $(CAPTURE))
	$(call show,libvirt-proto generate systemtap -o demo)
	$(call show,wc -l demo/libvirt_functions.stp)

test: $(VENV)/test.stamp ## Run the whole test suite; tests skip if a system tool is missing
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

test-releases: $(VENV)/test.stamp ## Run system tests with the libvirts of several Debian releases, installed in .releases
	$(BIN)/python -m tools.releases $(ARGS)

native: $(VENV)/run.stamp ## Compile the native core in place, after a change of libvirt_proto/_native.c
	@LIBVIRT_PROTO_NATIVE=1 $(PIP) --editable .

bare: $(BIN)/python ## Run demo and test on a minimal Debian, as an ordinary user; SUITE=trixie selects the release
	$(BIN)/python -m tools.bare $(SUITE)

snapshots: $(VENV)/test.stamp ## Update the snapshots of the public API and of the commands' output
	$(BIN)/python -m tests.snapshots.snapshots

soak: $(VENV)/test.stamp ## Compare a million values and a million mutated byte strings with rpcgen's C
	$(BIN)/python -m tests.differential.soak $(ARGS)

check: static ## Run the static checks, then the tests with all examples and branch coverage
	$(MAKE) --no-print-directory test ARGS='--hypothesis-profile full --cov $(ARGS)'

static: $(VENV)/dev.stamp ## Check format, lint, types, import contracts, and that generated files are current
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/mypy hatch_build.py
	$(BIN)/lint-imports
	$(BIN)/libvirt-proto $(GENERATE) --check
	$(BIN)/python -m tools.native_plan --check
	$(BIN)/python -m tools.native_core analyze

sanitize: $(VENV)/test.stamp ## Run the tests and seeds of the native core with ASan and UBSan
	$(BIN)/python -m tools.native_core sanitize $(ARGS)

native-platforms: $(VENV)/platforms.stamp ## Test the native core on AArch64 and s390x (emulated); build it for musl and old glibc
	$(BIN)/python -m tools.native_platforms $(ARGS)

full: ## Run what CI has no time for: sanitizers with all examples, other platforms
	$(MAKE) --no-print-directory sanitize ARGS='--hypothesis-profile full'
	$(MAKE) --no-print-directory native-platforms

fuzz: $(VENV)/fuzz.stamp ## Fuzz every reader, parser and the generator for TIME seconds each (30), or TARGETS
	$(BIN)/python -m tests.fuzz --time $(TIME) $(TARGETS)

mutate: $(VENV)/mutate.stamp ## Mutate the codec, messages and the Python target, and list mutants that no test kills
	$(BIN)/python -m tests.mutation --jobs $(JOBS)

generate: $(VENV)/run.stamp ## Regenerate the generated modules, and the plan of the native core
	$(BIN)/libvirt-proto $(GENERATE)
	$(BIN)/python -m tools.native_plan

release-definitions: $(VENV)/run.stamp ## Import a release: SOURCE=libvirt-12.10.0.tar.xz RELEASE=12.10.0
	@if [ -z "$(SOURCE)" ] || [ -z "$(RELEASE)" ]; then \
	    echo 'usage: make release-definitions SOURCE=libvirt-12.10.0.tar.xz RELEASE=12.10.0' >&2; \
	    echo 'SOURCE: a source tree, a release archive, a folder of .x and .d files, or the .dsc of a Debian' >&2; \
	    echo 'source package. Without .x files: .deb packages, or the root of a system with libvirt (/).' >&2; \
	    echo 'SAME=12.10.0:12.11.0 (optional): no declaration changed between these.' >&2; \
	    exit 2; \
	fi
	$(BIN)/python -m tools.release_definitions $(foreach each,$(SOURCE),'$(each)') --release '$(RELEASE)' $(SAME:%=--same '%')
	$(BIN)/libvirt-proto $(GENERATE)
	$(BIN)/python -m tools.native_plan
	$(BIN)/python tools/changelog_entry.py '$(RELEASE)'
	@echo
	@echo 'CHANGELOG.md lists the changes. Next: the steps in CONTRIBUTING.md.'

format: $(VENV)/dev.stamp ## Format the code, and apply the linter's fixes
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/bench.stamp ## Benchmark against peers, write docs/performance.md; ARGS=--quick takes a minute
	@$(BIN)/python -m tools.bench $(ARGS)

bench-compare: $(VENV)/bench.stamp ## Benchmark this tree against another revision: make bench-compare BASE=REV
	@$(BIN)/python -m tools.bench.compare $(BASE) $(ARGS)

clean: ## Remove .venv and everything built
	rm -rf $(VENV) build dist demo .coverage .coverage.* .fuzz .mutate .platforms .releases .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Contents of .venv: the package, and the dependencies of tests, static checks, fuzzing, mutation, benchmarks.
$(VENV)/run.stamp: pyproject.toml hatch_build.py libvirt_proto/_native.c | $(BIN)/python
	@echo 'Installing into $(VENV)'
	@$(PIP) 'pip>=25.1' # the first with dependency groups
	@$(PIP) --editable .
	@touch $@

STAMPS := $(patsubst %,$(VENV)/%.stamp,test dev bench fuzz mutate platforms)
$(STAMPS): $(VENV)/%.stamp: pyproject.toml | $(VENV)/run.stamp
	@$(PIP) --editable . --group $*
	@touch $@

$(BIN)/python:
	@for python in $(PYTHON); do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	    version=$$($(firstword $(PYTHON)) --version 2>/dev/null || echo missing); \
	    echo "libvirt-proto needs Python 3.11 or newer; $(firstword $(PYTHON)) is $$version." >&2; \
	    echo 'To use another one: make PYTHON=/path/to/python3' >&2; \
	    exit 1; \
	fi; \
	if ! $$found -c 'import ensurepip, venv' 2>/dev/null; then \
	    case $$found in python3.*) package=$$found-venv ;; *) package=python3-venv ;; esac; \
	    echo "$$found cannot make virtual environments. On Debian and Ubuntu: apt-get install $$package" >&2; \
	    exit 1; \
	fi; \
	$$found -m venv --clear $(VENV)
