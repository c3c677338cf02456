# The README's two commands are `make demo` and `make test`; each sets up what is missing first.
# Variables: ONCE=1 (no live view, one JSON line), CLIP= PHOTOS= CAMERA= (try your own), SHARED models: LFR_EDGE_SHARED.
PYTHON ?= python3
VENV ?= .venv
BENCH_VENV ?= .venv-bench
BIN := $(VENV)/bin
export LFR_EDGE_SHARED ?= ../shared

# Through the environment and as typed: names may hold quotes, spaces and dollar signs.
override export CLIP := $(value CLIP)
override export PHOTOS := $(value PHOTOS)
override export CAMERA := $(value CAMERA)
override export ENGINE_SET := $(value ENGINE_SET)
override export BESIDE := $(value BESIDE)

.PHONY: demo test test-all faults fuzz check accuracy bench setup setup-tests setup-bench lock

demo: setup
	@$(BIN)/lfr-edge demo $(if $(ONCE),--once) $(if $(FULL_SPEED),--full-speed) $${CLIP:+--clip="$$CLIP"} \
		$${PHOTOS:+--photos="$$PHOTOS"} $${CAMERA:+--camera="$$CAMERA"} $${ENGINE_SET:+--engine-set="$$ENGINE_SET"}

test: setup-tests
	@$(BIN)/pytest -m 'not slow'

test-all: setup-tests
	@$(BIN)/pytest

# kill -9 at every step of a deployment on the disk, and at a thousand random ones.
faults: setup
	@$(BIN)/pytest tests/faults

# Every parser of outside bytes, guided by coverage, FUZZ_S seconds each; PARSERS= only these. Skipped, with the reason,
# where atheris cannot be installed.
FUZZ_S ?= 10
FUZZ_PACKAGES := build/fuzz-packages
fuzz: setup
	@BIN='$(BIN)' FUZZ_PACKAGES='$(FUZZ_PACKAGES)' sh tests/fuzz/setup.sh || exit 0; \
		PYTHONPATH=tests:$(FUZZ_PACKAGES) $(BIN)/python -m fuzz.guided --seconds $(FUZZ_S) $(PARSERS)

check: setup
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# The table of every engine set on every data set, and the ablations of the first, into build/accuracy/. Needs the shared
# data; about twenty minutes on two cores. SETS= names other engine sets.
SETS ?= yunet-mobilefacenet yunet-duo centerface-dlib29
ACCURACY_STORE ?= .cache/engines
EVALUATE = $(BIN)/lfr-edge evaluate $(1) $(SETS:%=--engine-set %) --store $(ACCURACY_STORE) --ablations \
	--out build/accuracy/$(1)

accuracy: setup
	@for set in $(SETS); do $(BIN)/lfr-edge engines fetch $$set --from $(LFR_EDGE_SHARED)/models --store $(ACCURACY_STORE); done
	@$(call EVALUATE,identification) --data $(LFR_EDGE_SHARED)/media/lfw
	@$(call EVALUATE,clips) --data $(LFR_EDGE_SHARED)/media/real/signers --list tests/accuracy/signers.json
	@$(call EVALUATE,footage) --data examples/demo --list examples/demo/photos \
		--list $(LFR_EDGE_SHARED)/media/synthetic/lookalikes

# How fast, beside other software and beside what the machine can do, into build/bench/. Ten minutes on two cores;
# LONG=1 is an hour. SETS= other engine sets; ROUNDS=; BESIDE= another checkout, measured in turns with this one.
bench: SETS = yunet-mobilefacenet
bench: setup setup-bench
	@for set in $(SETS) yunet-mobilefacenet; do \
		$(BIN)/lfr-edge engines fetch $$set --from $(LFR_EDGE_SHARED)/models --store $(ACCURACY_STORE) || exit; done
	@for set in $(SETS); do PYTHONPATH=tests $(BIN)/python -m bench.compare --engine-set $$set --store $(ACCURACY_STORE) \
		--peers-python $(BENCH_VENV)/bin/python --out build/bench/$$set $(if $(LONG),--long) \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $${BESIDE:+--beside="$$BESIDE"} || exit; done

setup-bench:
	@PYTHON='$(PYTHON)' BENCH_VENV='$(BENCH_VENV)' sh tests/bench/setup.sh

setup-tests:
	@TESTS=1 PYTHON='$(PYTHON)' VENV='$(VENV)' sh deploy/setup.sh

setup:
	@PYTHON='$(PYTHON)' VENV='$(VENV)' sh deploy/setup.sh

# After a change of the dependencies. Names no index host, so that it works wherever an index is configured.
lock:
	@uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.10 --all-extras \
		--quiet pyproject.toml -o requirements.lock >/dev/null
	@uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.10 \
		--quiet requirements-bench.in -o requirements-bench.lock >/dev/null
	@uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.10 \
		--quiet requirements-fuzz.in -o requirements-fuzz.lock >/dev/null
