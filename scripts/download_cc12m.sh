#!/usr/bin/env bash
# Downloads Conceptual 12M (the published .tsv: url, caption, no header) into webdataset shards 00000 to about 01230.
#
#   bash scripts/download_cc12m.sh TABLE.tsv OUT
set -euo pipefail
if [ $# -lt 2 ]; then sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; fi
table=$1 out=$2
shift 2
[ -f "$table" ] || { echo "error: no such table: $table" >&2; exit 2; }
if [[ $'\t'$(head -n 1 "$table")$'\t' != *$'\t'url$'\t'* ]]; then
    mkdir -p "$out"
    { printf 'url\tcaption\n'; cat "$table"; } > "$out/cc12m.named.tsv"
    table=$out/cc12m.named.tsv
fi
exec bash "$(dirname "${BASH_SOURCE[0]}")/download_table.sh" "$table" "$out" "$@"
