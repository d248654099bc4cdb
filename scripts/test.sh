#!/usr/bin/env bash
# Sets up, and runs the tests. Arguments go to pytest:  bash scripts/test.sh tests/mining -x
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
exec .venv/bin/python -m pytest "$@"
