#!/usr/bin/env bash
# Sets up, then goes from image-text pairs to a measurably better CLIP, on one page, on a machine without a GPU.
#
#   bash scripts/quickstart.sh              about eight minutes on two cores, after set-up
#   bash scripts/quickstart.sh --seeds 3    repeats the three continuations, for mean and spread
#   bash scripts/quickstart.sh --small      colored shapes instead of stickers: one minute, for a look at the machinery
#   bash scripts/quickstart.sh --force      does finished steps again
#
# Data goes to data/quickstart, everything else to runs/quickstart (--out DIR, --data DIR choose others).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
exec .venv/bin/python -m hardpairs.cli quickstart "$@"
