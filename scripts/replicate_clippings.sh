#!/usr/bin/env bash
# CLIPPINGS' seven rows (arXiv 2304.03464, its replication table) on the data and checkpoints that it is given.
#
#   bash scripts/replicate_clippings.sh TEST.csv --model ViT-B-32-quickgelu --selfsup PRETRAINED.pt --supervised SUPCON.pt [--out DIR] \
#       [--same-source PATTERN]
#
# TEST.csv: image_path,text,label, as tools.format_news writes it. --selfsup: trained with --preset clippings-pretrain; --supervised: with
# --preset clippings-supcon, from there on. Thresholds (and the image's weight in the multimodal rows) are chosen on 40 % of the labels, and what is
# printed comes from the others. --same-source '[^/_]*_([^/]*)$': the Jaccard row links no two rows of one scan, as the published one does by what
# stands after a file name's first underscore. The published figures are on data that is not public.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
self=$here/scripts/${BASH_SOURCE[0]##*/}

usage() { sed -n '2,11s/^# \{0,1\}//p' "$self"; }
data=${1:-} model= selfsup= supervised= out=$here/runs/clippings apart=()
case $data in -h | --help) usage; exit 0 ;; "" | --*) usage >&2; exit 2 ;; esac
shift
while [ $# -gt 0 ]; do
    case $1 in
        --model) model=${2:?--model needs a name}; shift ;;
        --selfsup) selfsup=${2:?--selfsup needs a checkpoint}; shift ;;
        --supervised) supervised=${2:?--supervised needs a checkpoint}; shift ;;
        --out) out=${2:?--out needs a folder}; shift ;;
        --same-source) apart=(--same-source "${2:?--same-source needs a pattern}"); shift ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done
[ -n "$model" ] && [ -n "$selfsup" ] && [ -n "$supervised" ] || { usage >&2; exit 2; }
[ -f "$data" ] || { echo "error: no such file: $data" >&2; exit 2; }
bash "$here/scripts/setup.sh"
python=$here/.venv/bin/python  # and no other folder: the table's paths may be relative
columns=(--csv-img-key image_path --csv-caption-key text --csv-label-key label)
mkdir -p "$out"

embed() {  # NAME CHECKPOINT
    $python -m mining.embed --csv "$data" "${columns[@]:0:4}" --model "$model" --pretrained "$2" --out "$out/embeddings-$1"
}

link() {  # NAME EMBEDDINGS FLAGS...
    local name=$1 embeddings=$2
    shift 2
    $python -m tools.link --embeddings "$out/embeddings-$embeddings" --data "$data" "${columns[@]}" --pooling-type mean --out "$out/$name" "$@" > /dev/null
}

embed selfsup "$selfsup"
embed supervised "$supervised"
$python -m tools.jaccard --data "$data" "${columns[@]}" ${apart[@]+"${apart[@]}"} --out "$out/jaccard" > /dev/null
for kind in selfsup supervised; do
    link "$kind-visual" "$kind" --im-wt 1
    link "$kind-language" "$kind" --im-wt 0
    link "$kind-multimodal" "$kind" --opt-im-wt
done

$python - "$out" << 'PYTHON'
import json
import sys
from pathlib import Path

rows = [("Jaccard", "jaccard/jaccard.json"), *(
    (f"{name}, {side}", f"{kind}-{side}/linkage.json")
    for kind, name in (("selfsup", "self-supervised"), ("supervised", "supervised"))
    for side in ("visual", "language", "multimodal")
)]
print("| | ARI x 100 | threshold | image weight |\n|---|---|---|---|")
for name, file in rows:
    linkage = json.loads((Path(sys.argv[1]) / file).read_text())
    weight = linkage.get("image_weight")
    print(f"| {name} | {100 * linkage['test']['ari']:.1f} | {linkage['threshold']:.3f} | {'' if weight is None else f'{weight:.2f}'} |")
PYTHON
