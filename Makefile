PYTHON := .venv/bin/python
OURS := src/hardpairs src/training mining tools tests benchmarks

.PHONY: setup check test test-all quickstart clean

setup:           ## .venv and the patched trainer
	bash scripts/setup.sh

check: setup     ## format, lint, types on public modules, import layers
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(PYTHON) -m ruff format --check $(OURS)
	$(PYTHON) -m ruff check $(OURS)
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest tests/test_layers.py

test:            ## what runs on every change
	bash scripts/test.sh

test-all:        ## the slow tests too
	bash scripts/test.sh -m ""

quickstart:
	bash scripts/quickstart.sh

clean:           ## what setup and the quickstart made
	rm -rf .venv src/open_clip_train data/quickstart* runs/quickstart*
