# make demo | test | lint | bench | audit : each builds .venv first when missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint bench audit format clean

demo: $(READY)
	$(BIN)/python -m demo.run

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/yamllint .
	$(BIN)/codespell

bench: $(READY)
	$(BIN)/python -m benchmarks.frozen_features

# Known vulnerabilities of the very files that pip would install here.
audit: $(READY)
	$(BIN)/pip install --quiet -r requirements-audit.txt
	$(BIN)/python -m tools.lock --output locked.txt
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r locked.txt

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) results cache

$(READY): requirements.txt requirements-dev.txt constraints.txt tools/fix_torchaudio.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -r requirements-dev.txt -c constraints.txt
	$(BIN)/python tools/fix_torchaudio.py
	touch $@
