#!/usr/bin/env bash
# Makes .venv with everything this project needs, and the patched OpenCLIP trainer in src/open_clip_train/. Run again: nothing to do.
#
#   bash scripts/setup.sh            PYTHON=/path/to/python3 chooses another interpreter
#
# A torch that is already there is taken when it can be used: 2.10 or newer, with a torchvision that imports.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

stop() { echo "setup: $*" >&2; exit 1; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10 python}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    stop "Python 3.10 or newer is needed; install it, or name it with PYTHON=/path/to/python3."
}

usable_torch() {
    "$1" -c 'import torch, torchvision; v = torch.__version__.split("+")[0].split("."); raise SystemExit((int(v[0]), int(v[1])) < (2, 10))' >/dev/null 2>&1
}

fingerprint() { cat requirements.txt pyproject.toml scripts/setup.sh | cksum; }

if [ ! -x .venv/bin/python ]; then
    python=$(find_python)
    site=()
    if usable_torch "$python"; then site=(--system-site-packages); fi
    "$python" -m venv "${site[@]}" .venv || { rm -rf .venv; stop "venv failed; on Debian and Ubuntu: apt install python3-venv"; }
fi
if [ "$(cat .venv/setup-done 2>/dev/null)" != "$(fingerprint)" ]; then
    echo "setup: installing (once; several GB and minutes when torch comes with CUDA)" >&2
    isolation=()
    if .venv/bin/python -c 'import setuptools; raise SystemExit(int(setuptools.__version__.split(".")[0]) < 77)' 2>/dev/null; then
        isolation=(--no-build-isolation)  # nothing to download for building our own package
    fi
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "${isolation[@]}" -r requirements.txt \
        || stop "pip could not install requirements.txt (see above); is the network there, and the disk not full?"
    # `python -m tools.NAME` and `python -m mining.NAME` work from every folder
    .venv/bin/python -c 'import os, sysconfig; open(os.path.join(sysconfig.get_path("purelib"), "hardpairs-repository.pth"), "w").write(os.getcwd())'
    fingerprint > .venv/setup-done
fi
.venv/bin/python -m hardpairs.cli patch >&2
