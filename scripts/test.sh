#!/usr/bin/env bash
# Sets up, and runs the tests in two processes (WORKERS=N: in N). Arguments go to pytest:  bash scripts/test.sh tests/mining -x
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
exec .venv/bin/python -m pytest -n "${WORKERS:-2}" --dist loadfile --max-worker-restart=0 "$@"  # a crash is a failure, not a wait without end
