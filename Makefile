# make demo | emodb | test | cluster | explore | coverage | lint | bench | lock |
# audit : each builds .venv first when it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PACKAGES := modules data_prep demo recipes benchmarks tools tests

.PHONY: demo emodb test cluster explore coverage lint bench lock audit format clean

demo: $(READY)
	$(BIN)/python -m demo.run

# Real speech: downloads EmoDB and Whisper tiny.en, or takes
# EMODB=folder ENCODER=folder.
emodb: $(READY)
	$(BIN)/python -m recipes.EMODB.real \
		$(if $(EMODB),--data_folder "$(EMODB)") \
		$(if $(ENCODER),--encoder_hub "$(ENCODER)")

# One thread a worker: threads that wait for each other cost more than they save.
# A file's tests share what they train: one worker runs all of them.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

test: $(READY)
	$(PYTEST)

# Slurm and Ray as clusters on this machine, with kills. Slurm needs root and
# apt-get install slurm-wlm munge; what is missing is skipped with its reason.
CLUSTER ?= cluster
cluster: $(READY)
	$(BIN)/pip install --quiet -r requirements-cluster.txt -c constraints.txt
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "$(CLUSTER)" -rs tests/cluster

# The same properties with other examples than those of `make test`.
explore: $(READY)
	HYPOTHESIS_PROFILE=random $(PYTEST) -m "not slow and not cluster"

# Branch coverage of modules/ and data_prep/; fails below the floor of pyproject.toml.
coverage: $(READY)
	$(PYTEST) --cov --cov-report=term

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/yamllint .
	$(BIN)/codespell
	$(BIN)/mypy
# `decode` of bytes and an attribute `file` are taken for those of Python 2.
	$(BIN)/vermin --target=3.10- --no-tips --violations --quiet \
		--exclude str.decode --exclude file $(PACKAGES) *.py

# One page. With speech: make bench EMODB=folder WHISPER=folder-or-name
bench: $(READY)
	$(BIN)/python -m benchmarks.page \
		$(if $(EMODB),--data_folder $(EMODB)) \
		$(if $(WHISPER),--encoder_hub $(WHISPER))

# requirements-lock.txt: the SHA-256 of every file of the versions in constraints.txt.
lock: $(READY)
	$(BIN)/pip install --quiet -r requirements-audit.txt
	$(BIN)/python -m tools.lock

# Known vulnerabilities of the versions in requirements-lock.txt.
audit: $(READY)
	$(BIN)/pip install --quiet -r requirements-audit.txt
	$(BIN)/python -m tools.audit

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) results cache

$(READY): requirements.txt requirements-onnx.txt requirements-formats.txt \
    requirements-vad.txt requirements-live.txt requirements-page.txt requirements-logging.txt \
    requirements-dev.txt constraints.txt tools/fix_torchaudio.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -r requirements-dev.txt -c constraints.txt
	$(BIN)/python tools/fix_torchaudio.py
	touch $@
