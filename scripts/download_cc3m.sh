#!/usr/bin/env bash
# Downloads Conceptual Captions 3M (the published .tsv: caption, url) into webdataset shards 00000 to about 0331.
#
#   bash scripts/download_cc3m.sh TABLE.tsv OUT
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/download_table.sh" "$@"
