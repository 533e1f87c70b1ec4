# Every target is one `uv run` line in the locked environment .venv, which makes itself on a machine that has only
# git, make and python3 >= 3.11. CI runs `make check`, there with all cases of every property, then of `make test` what
# that left out; see .ci/run.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := check
.PHONY: demo test check sim e2e attacks fuzz bench docs clean

SEEDS ?= 1000
SEED_START ?= 0
SEEDS_CI ?= 50
HARSH_SEEDS_CI ?= 20
REALM_SEEDS_CI ?= 6
WORK_SEEDS_CI ?= 8
FUZZ_INPUTS ?= 10000000
export UV_SYSTEM_CERTS ?= true
# Without compiled bytecode every process of every test compiles its imports again: twice the time.
unexport PYTHONDONTWRITEBYTECODE

# uv's path, found or fetched once and only when a target asks for it.
UV = $(eval UV := $(shell .ci/get-uv))$(UV)
RUN = $(UV) run --no-sync

.SILENT: demo .venv/ready

demo: .venv/ready
	$(RUN) wos demo

check: .venv/ready
	$(RUN) ruff format --check --quiet
	$(RUN) ruff check --quiet
	$(RUN) mypy --no-error-summary
	$(RUN) lint-imports
	$(RUN) pytest -n 2 -m "not e2e and not slow" --hypothesis-profile=$(if $(CI),ci,quick)

test: .venv/ready packages
	$(RUN) python -m worldos.sim --seeds $(SEEDS_CI)
	$(RUN) python -m worldos.sim --seeds $(HARSH_SEEDS_CI) --harsh
	$(RUN) python -m worldos.sim --realms --seeds $(REALM_SEEDS_CI) --seconds 8
	$(RUN) python -m worldos.sim --work --seeds $(WORK_SEEDS_CI) --seconds 12
	$(RUN) pytest -n 2 -m "$(if $(CI),slow and not e2e,not e2e)"
	$(RUN) pytest -n 2 --dist loadfile -m e2e $(if $(CI),--must-run e2e)

sim: .venv/ready
	$(RUN) python -m worldos.sim --seeds $(SEEDS) --start $(SEED_START)
	$(RUN) python -m worldos.sim --realms --seeds $(SEEDS) --start $(SEED_START)
	$(RUN) python -m worldos.sim --work --seeds $(SEEDS) --start $(SEED_START)

e2e: .venv/ready packages
	$(RUN) pytest -m e2e --must-run e2e

# Hours each: the attack table at its full sizes, and ten million inputs to every decoder that faces a stranger.
attacks: .venv/ready
	TRUST_LONG=1 $(RUN) pytest tests/attacks

fuzz: .venv/ready
	$(RUN) python -m tests.fuzz.fuzz --inputs $(FUZZ_INPUTS)

bench: .venv/ready
	UV_PROJECT_ENVIRONMENT=.venv-peers $(UV) run --locked --group peers python -m bench

docs: .venv/ready
	$(UV) run --locked --group docs mkdocs build --strict

.PHONY: packages
packages:
	@.ci/get-packages

.venv/ready: pyproject.toml uv.lock
	@test -n "$(UV)"
	$(UV) sync --locked --quiet
	@touch $@

clean:
	rm -rf .venv .venv-peers .uv site dist .mypy_cache .ruff_cache .import_linter_cache .hypothesis
