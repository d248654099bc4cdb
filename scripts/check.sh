#!/usr/bin/env bash
# Checks without running the program: format, lint, types, import rules. Sets up first and installs its tools, with pinned versions.
#
#   bash scripts/check.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
ours=(src/hardpairs src/training mining tools tests benchmarks)
.venv/bin/python -m ruff format --check "${ours[@]}"
.venv/bin/python -m ruff check "${ours[@]}"
.venv/bin/python -m mypy
exec .venv/bin/python -m pytest -q tests/test_layers.py tests/test_checks.py
