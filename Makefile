# Everything builds what it needs by itself, from the package registries only.
# On the machine: Python 3.11 or later with venv, and (for the compiled core) a C compiler and the Python headers.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := pyproject.toml setup.py $(wildcard src/pageblock/mm/*.py src/pageblock/mm/*.pyx src/pageblock/mm/*.pxd src/pageblock/machine/*.py src/pageblock/machine/*.pyx src/pageblock/machine/*.pxd src/pageblock/check/explorer/*.py src/pageblock/check/explorer/*.pyx src/pageblock/check/explorer/*.pxd)

.PHONY: doctor test sanitize install bench oracle guest mutants docs studies clean

## the answer for this machine, or for the recorded one that the package ships where /proc/kpageflags can't be read
doctor: $(STAMP)
	@$(BIN)/pageblock doctor --recorded-if-unreadable

## the whole test-suite, as CI runs it
test: $(STAMP)
	@$(BIN)/python -c 'import pageblock, sys; sys.exit(0 if pageblock.COMPILED else "the core is not compiled: install a C compiler and the Python headers, then make clean install")'
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest
	PAGEBLOCK_UNCOMPILED=1 $(BIN)/python -m pytest -m "not slow"

SANITIZED := build/sanitize
## the compiled core under the address and undefined behaviour sanitizers: recordings, random operations, bad input (docs/bad-input.md)
sanitize: $(STAMP)
	rm -rf $(SANITIZED)
	PAGEBLOCK_SANITIZE=address,undefined $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(SANITIZED) .
	PYTHONPATH=$(SANITIZED) PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" .ci/sanitized $(BIN)/python $(SANITIZED)

## the command, into .venv/bin/pageblock
install: $(STAMP)

$(STAMP): $(SOURCES)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) cannot make a virtual environment: install python3-venv" >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

## instructions per operation, and ratios to a plain-C loop
bench: $(STAMP)
	$(BIN)/python -m bench

KERNEL ?= 6.1
## a real kernel's record, verified by a second boot and replayed: KERNEL=6.1|6.12 SEED= PROFILE= (docs/oracle.md)
oracle: $(STAMP)
	$(BIN)/python -m oracle --kernel $(KERNEL) $(if $(SEED),--seed $(SEED)) $(if $(PROFILE),--profile $(PROFILE)) $(ORACLE_ARGS)

## a machine in use, with its kernel's answer for every range: KERNEL=6.1|6.12 SEED= WORKLOAD= REMEDY= OUT= (docs/score.md)
guest: $(STAMP)
	$(BIN)/python -m oracle.guest_machine --kernel $(KERNEL) $(if $(SEED),--seed $(SEED)) $(if $(WORKLOAD),--workload $(WORKLOAD)) $(if $(REMEDY),--remedy $(REMEDY)) $(if $(OUT),--out $(OUT))

## one rule of mm/ changed at a time: which trace or test notices (docs/mutants.md)
mutants: $(STAMP)
	$(BIN)/python -m mutants

## docs/rules.md, docs/invariants.md and the causes in docs/explain.md from their tables, and what commands print in the documentation
docs: $(STAMP)
	$(BIN)/python -m pageblock.view.rules > docs/rules.md
	$(BIN)/python -m pageblock.view.invariants > docs/invariants.md
	$(BIN)/python -m pageblock.view.causes docs/explain.md
	$(BIN)/python docs/transcripts.py docs/series.md docs/doctor.md
	$(BIN)/python docs/bugs.py docs/bugs.md

## the studies of docs/studies again, from their sweeps to their pages (an hour and a half on two cores)
studies: $(STAMP)
	$(BIN)/python -m docs.studies.run

clean:
	rm -rf $(VENV) build src/*.egg-info src/pageblock/mm/_core.c src/pageblock/machine/_actions.c src/pageblock/machine/_scan.c src/pageblock/check/explorer/_explore.c
	find src -name '*.so' -delete
