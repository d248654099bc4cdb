#!/usr/bin/env bash
# Downloads YFCC15M (a .tsv with the columns caption and url) into webdataset shards 00000 to about 01538.
#
#   bash scripts/download_yfcc15m.sh TABLE.tsv OUT
set -euo pipefail
if [ $# -lt 2 ]; then sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; fi
exec bash "$(dirname "${BASH_SOURCE[0]}")/download_table.sh" "$@"
