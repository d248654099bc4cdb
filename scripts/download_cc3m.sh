#!/usr/bin/env bash
# Downloads Conceptual Captions 3M (the published .tsv: caption, url) into webdataset shards 00000 to about 0331.
#
#   bash scripts/download_cc3m.sh TABLE.tsv OUT
set -euo pipefail
if [ $# -lt 2 ]; then sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; fi
exec bash "$(dirname "${BASH_SOURCE[0]}")/download_table.sh" "$@"
