.PHONY: setup check test test-all docs quickstart clean

setup:           ## .venv and the patched trainer
	bash scripts/setup.sh

check:           ## format, lint, types, import rules
	bash scripts/check.sh

test:            ## what runs on every change
	bash scripts/test.sh

test-all:        ## the slow tests too, then the default tests on every kind of processor
	bash scripts/test.sh -m "not gpu"
	bash scripts/test_matrix.sh

docs: setup      ## the site in build/site/, with its links checked
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -e .[docs]
	.venv/bin/python -m mkdocs build

quickstart:
	bash scripts/quickstart.sh

clean:           ## what setup and the quickstart made
	rm -rf .venv src/open_clip_train data/quickstart* runs/quickstart*
