# make demo: set up and restore sample photos    make test: set up and run the tests
PYTHON ?= python3
BIN := .venv/bin
# Any CPU or GPU build of torch serves; plain "torch" pulls gigabytes of CUDA on Linux.
TORCH ?= torch==2.13.0

.PHONY: demo test test-slow lint format docs oracles release-check app-check matrix clean

demo: .venv/installed
	$(BIN)/reddiff-jax demo --out demo

test: .venv/installed-test
	$(BIN)/python -m pytest

test-slow: .venv/installed-test
	$(BIN)/python -m pytest -m slow

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: .venv/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/installed-docs
	$(BIN)/mkdocs build --strict --quiet

# Builds dist/, checks what is in it and uses it in an empty environment.
release-check: .venv/installed-dev
	UV=$(CURDIR)/$(BIN)/uv PYRIGHT=$(CURDIR)/$(BIN)/pyright PYTHON=$(CURDIR)/$(BIN)/python tests/release/release.sh

# The page in the browser, in an environment of its own: Gradio wants another Pillow. Needs a chromium on the PATH.
app-check: .venv/installed-dev
	$(BIN)/uv venv -q --clear --python $(BIN)/python .venv-app
	$(BIN)/uv pip install -q --python .venv-app/bin/python -e ".[app,browser]"
	.venv-app/bin/python -m pytest -n 0 -m "" tests/app

# A part of the tests with the lowest versions of what is needed on Python 3.11, and with the newest on 3.13.
matrix: .venv/installed-dev
	UV=$(CURDIR)/$(BIN)/uv tests/release/matrix.sh

# Independent implementations that some tests compare with. Five are installed without their dependencies, because these
# include a CUDA build of torch or of onnxruntime, or clients of clouds; see tests/oracles.py.
oracles: .venv/installed-test
	$(BIN)/pip install -q $(TORCH)
	$(BIN)/pip install -q --no-deps torchvision==0.28.0 azula==0.11.1 deepinv==0.5.0 adaptive-terrain-diffusion==0.4.2 \
		nvidia-physicsnemo==1.0.0
	$(BIN)/pip install -q -e ".[oracles]"

clean:
	rm -rf .venv .venv-app demo site dist

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --upgrade pip

.venv/installed: .venv/bin/python pyproject.toml
	$(BIN)/pip install -q -e .
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/pip install -q -e ".[test]"
	touch $@

.venv/installed-dev: .venv/installed-test
	$(BIN)/pip install -q -e ".[bench,dev,release]"
	touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/pip install -q -e ".[docs]"
	touch $@
