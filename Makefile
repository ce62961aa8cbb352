# `make run` and `make test` are the two commands of the README; every other target is one step of the daily work.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test retest quick check bench mutants proof lock clean

run: $(STAMP)
	$(BIN)/turnlock demo

test: $(STAMP)
	tools/debian.sh
	tools/mysql.sh
	tools/postgresql.sh
	$(BIN)/pytest -q -n 2 --dist loadfile --durations 20 --junit-xml build/tests.xml

# Only what failed in the last run.
retest: $(STAMP)
	$(BIN)/pytest -q --last-failed --last-failed-no-failures none

# The embedded store only, few examples, and no other processes: no databases, functions, servers.
quick: $(STAMP)
	TURNLOCK_TEST_STORES=sqlite TURNLOCK_TEST_EXAMPLES=few $(BIN)/pytest -q -n 2 --dist loadfile --junit-xml build/quick.xml -m "not slow" --timeout 60 $(foreach room,bench cli clients confinement \
	  engines examples faults functions hostile rotators,--ignore tests/$(room)) --ignore tests/rds --ignore tests/local_servers

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/sizes.py
	$(BIN)/python tools/walk.py

# The full fault and load matrices; resumable, results in docs/proofs.md.
proof: $(STAMP)
	tools/debian.sh
	tools/mysql.sh
	tools/postgresql.sh
	TURNLOCK_PROOF=full $(BIN)/pytest -q tests/faults tests/engines tests/hostile tests/confinement tests/rds/test_walls.py \
	  tests/rds/test_no_way_up.py tests/rds/test_unconfined.py tests/rotation/test_delivered_functions.py tests/functions/test_runner.py tests/clients/test_ansible.py tests/clients/test_replication.py tests/secrets/test_large_lists.py \
	  tests/secrets/test_stateful.py --timeout 3600

# Small changes that some test must notice; resumable (.mutants.json), survivors in docs/mutants.md.
mutants: $(STAMP)
	$(BIN)/python tools/mutants.py

bench: $(STAMP)
	$(BIN)/python -m bench

# What is installed is what the lock file names, by hash; the project itself is added without looking further.
$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(STAMP)

lock: pyproject.toml
	$(BIN)/pip-compile --quiet --extra demo --extra dev --generate-hashes --allow-unsafe --strip-extras \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --resolver backtracking \
	  --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
