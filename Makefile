# Every target makes the virtual environment first when it is missing or older than the lock file.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
EVERY_DAY := not parity and not aot and not large and not ray and not browser and not gcs and not long and not bench

.PHONY: .venv demo studies test parity aot gcs browser large long bench lint docs

.venv: $(BIN)/xlmr-flax

$(BIN)/xlmr-flax: pyproject.toml lock/dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r lock/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# the same environment with torch added
.venv/parity: $(BIN)/xlmr-flax lock/parity.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r lock/parity.txt
	touch $@

# and with libtpu, which compiles for TPUs that are not here
.venv/aot: $(BIN)/xlmr-flax lock/aot.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r lock/aot.txt
	touch $@

# and with the clients of Google Cloud Storage and an emulator of it
.venv/gcs: $(BIN)/xlmr-flax lock/gcs.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r lock/gcs.txt
	touch $@

# and with Ray
.venv/ray: $(BIN)/xlmr-flax lock/ray.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r lock/ray.txt
	touch $@

# and with what speeds are compared with
.venv/bench: .venv/parity lock/bench.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r lock/bench.txt
	touch $@

# transformers' last Flax models, which stand beside no other version
.venv/peer: $(BIN)/xlmr-flax lock/peer.txt
	test -x $@/bin/python || $(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check -r lock/peer.txt
	touch $@

# and with what builds the pages of docs/
.venv/docs: $(BIN)/xlmr-flax lock/docs.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r lock/docs.txt
	touch $@

demo: $(BIN)/xlmr-flax
	$(BIN)/xlmr-flax run configs/demo.toml

# two studies in a generated world, which share a pretrained model and what is compiled, and their reports
studies: export JAX_COMPILATION_CACHE_DIR = $(CURDIR)/cache/compiled
studies: $(BIN)/xlmr-flax
	$(BIN)/xlmr-flax run configs/studies/qa_robustness_mini.toml
	$(BIN)/xlmr-flax run configs/studies/reasoning_mini.toml

# in two processes, each with whole files: the tests of a file share what they compile
test: $(BIN)/xlmr-flax
	$(PYTEST) -n 2 --dist loadfile -m "$(EVERY_DAY)"

parity: .venv/parity
	$(PYTEST) -m parity

aot: .venv/aot
	$(PYTEST) -m "aot and not long" -s

gcs: .venv/gcs
	$(PYTEST) -m gcs

ray: .venv/ray
	$(PYTEST) -m ray

# pages in headless Chromium, which Debian has as `chromium`
browser: $(BIN)/xlmr-flax
	$(PYTEST) -m browser -s

large: $(BIN)/xlmr-flax
	$(PYTEST) -m large -s

long: .venv/aot .venv/bench
	$(PYTEST) -m "long or bench" -s

# speeds beside those of the libraries that do the same; `make long` adds mining and saving, which take longer
bench: .venv/bench .venv/aot .venv/peer
	$(PYTEST) -m "bench and not long" tests/benchmarks -s

# warnings are errors: a link that leads nowhere, a section of the README that is gone
docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	$(PYTEST) tests/docs

lint: $(BIN)/xlmr-flax
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/shellcheck --external-sources --source-path=SCRIPTDIR launch/*.sh
