#!/usr/bin/env bash
# Downloads the images of a URL table into webdataset shards with img2dataset.
#
#   bash scripts/download_table.sh TABLE.tsv OUT [more img2dataset options]
#
# TABLE: tab-separated, with the columns caption and url; a table without a header (as Conceptual Captions is published) is taken as
# caption, url. A "group" column travels into the shards. Started again, img2dataset goes on with the shards that are missing.
# PROCESSES and THREADS set its parallelism; --distributor ray (or pyspark, with --subjob_size) shares it among machines.
# Nothing is sent anywhere but to the images' servers.
set -euo pipefail
if [ $# -lt 2 ]; then sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; fi
table=$1 out=$2
shift 2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ -f "$table" ] || { echo "error: no such table: $table" >&2; exit 2; }

header=$(head -n 1 "$table")
if [[ $'\t'$header$'\t' != *$'\t'url$'\t'* ]]; then
    mkdir -p "$out"
    named=$out/$(basename "$table").named
    { printf 'caption\turl\n'; cat "$table"; } > "$named"
    table=$named header=$'caption\turl'
fi
columns=()
if [[ $'\t'$header$'\t' == *$'\t'group$'\t'* ]]; then columns=(--save_additional_columns '["group"]'); fi

NO_ALBUMENTATIONS_UPDATE=1 WANDB_MODE=disabled exec "$root/.venv/bin/img2dataset" --url_list "$table" --input_format tsv --url_col url \
    --caption_col caption "${columns[@]}" --output_format webdataset --output_folder "$out" --processes_count "${PROCESSES:-$(nproc)}" \
    --thread_count "${THREADS:-64}" --image_size 256 --resize_mode keep_ratio --resize_only_if_bigger True --skip_reencode True \
    --enable_wandb False --incremental_mode incremental "$@"
