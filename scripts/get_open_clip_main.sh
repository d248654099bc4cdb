#!/usr/bin/env bash
# Clones OpenCLIP's main at the commit that patches/4.x was tested on, for the tests that need it.
#
#   bash scripts/get_open_clip_main.sh [FOLDER]      default: data/open_clip_main
#   OPEN_CLIP_MAIN=data/open_clip_main pytest tests/patches/test_main.py
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-$root/data/open_clip_main}
commit=$(sed -n 's/.*"commit": "\([0-9a-f]*\)".*/\1/p' "$root/patches/4.x/commit.json")
[ -d "$folder/.git" ] || git clone --quiet --filter=blob:none --no-checkout https://github.com/mlfoundations/open_clip "$folder"
git -C "$folder" checkout --quiet "$commit"
echo "OPEN_CLIP_MAIN=$folder"
