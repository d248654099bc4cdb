#!/usr/bin/env bash
# Sets up, and runs the tests in four processes (WORKERS=N: in N): on two cores half of them may wait. Arguments go to pytest:  bash scripts/test.sh tests/mining -x
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
unset PYTHONDONTWRITEBYTECODE  # else each of thousands of processes compiles every module anew
.venv/bin/python -m tests.compiled &  # while the tests are collected
exec .venv/bin/python -m tests.parallel -n "${WORKERS:-4}" --dist worksteal --max-worker-restart=0 "$@"  # a crash is a failure, not a wait without end
