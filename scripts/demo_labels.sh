#!/usr/bin/env bash
# Metric learning on labeled images, from nothing to a table and two pages, on a machine without a GPU.
#
#   bash scripts/demo_labels.sh             two vendors' drawings of the same emoji (needs npm for the second vendor's)
#   bash scripts/demo_labels.sh --small     colored shapes instead: some minutes, for a look at the machinery
#   bash scripts/demo_labels.sh --seeds 1   fewer runs of each loss (default 3)
#
# Photographs of one vendor's drawings ask for the other's; the test's emoji are in no training image. All losses start from one small CLIP that
# was trained on the training images and their names. Data goes to data/labels, the rest to runs/labels (--out DIR, --data DIR choose others).
# Finished steps are not repeated.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seeds=3 small= out= data=
while [ $# -gt 0 ]; do
    case $1 in
        --seeds) seeds=${2:?--seeds needs a number}; shift ;;
        --out) out=${2:?--out needs a folder}; shift ;;
        --data) data=${2:?--data needs a folder}; shift ;;
        --small) small=1 ;;
        -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift
done
[[ $seeds =~ ^[1-9][0-9]*$ ]] || { echo "error: --seeds must be a number from 1, not $seeds" >&2; exit 2; }
name=labels${small:+-small}
out=${out:-runs/$name} data=${data:-data/$name}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}  # the tensors are tiny: a second thread costs more than it gives
say() { printf '\n[%s]\n' "$*" >&2; }

bash scripts/setup.sh
python=.venv/bin/python
mkdir -p "$data" "$out"

if [ -n "$small" ]; then
    demo=(--kind scenes --pairs 800 --views 8) model=hardpairs-test
    start=(--batch-size 48 --max-steps 150 --lr 2e-3 --warmup 10)
    compare=(--batch-size 48 --steps 60 --epochs 6 --lr 1e-4 1e-3)
else
    vendor=$data/emoji-datasource-google
    if [ ! -f "$vendor/emoji.json" ]; then
        command -v npm > /dev/null || { echo "error: npm is needed for the second vendor's drawings (Noto, Apache-2.0); or: --small" >&2; exit 2; }
        say "npm pack emoji-datasource-google"
        pack=$(cd "$data" && npm pack --silent emoji-datasource-google@16.0.0)
        mkdir -p "$vendor"
        tar -xzf "$data/$pack" -C "$vendor" --strip-components 1 package/emoji.json package/img/google/64
        rm "$data/$pack"
    fi
    demo=(--second-vendor "$vendor" --pairs 15248 --views 4) model=hardpairs-small
    start=(--batch-size 64 --max-steps 600 --lr 2e-3 --warmup 50)
    compare=(--batch-size 64 --steps 200 --epochs 5 --lr 1e-4 1e-3)
fi

say "demo_data --layout classes"
$python -m tools.demo_data --layout classes --out "$data/pictures" "${demo[@]}"

if [ ! -e "$out/start/checkpoints/epoch_1.pt" ]; then
    say "the start model: a small CLIP of the training images and their names"
    rm -rf "$out/start"
    $python -m training.main --train-data "$data/pictures/train" --model $model --batching random --device cpu --precision fp32 --workers 1 \
        --augment none --log-every-n-steps 50 --logs "$out" --name start "${start[@]}" 2>&1 | grep --line-buffered -E 'Train Epoch|^error|^  (where|why|fix):' >&2
fi

say "compare_losses"
$python -m tools.compare_losses "$data/pictures" --model $model --pretrained "$out/start/checkpoints/epoch_1.pt" --seeds "$seeds" "${compare[@]}" \
    --losses arcface,triplet,clip_ce,contrastive,supcon --flags 'arcface:--head-lr 0.01' --m-per-class 4 --out "$out/losses" -- --workers 1 --precision fp32 --augment none --freeze-bn-stats

say "link: the test images of both vendors, with misread texts, by the loss that the validation data prefers"
best=$($python -c "import json; table = json.load(open('$out/losses/comparison.json')); \
row = next(row for row in table['losses'] if row['loss'] == table['chosen']); print(f\"{row['loss']}-lr{row['rate']:g}-seed0\")")
table=(--data "$data/pictures/news.csv" --csv-img-key image_path --csv-caption-key text --csv-label-key label)
$python -m tools.jaccard "${table[@]}" --out "$out/jaccard"
for weights in start "losses/runs/$best"; do
    checkpoint=$out/$weights/checkpoints/best.pt
    [ -e "$checkpoint" ] || checkpoint=$out/$weights/checkpoints/epoch_1.pt
    $python -m tools.link "${table[@]}" --model $model --pretrained "$checkpoint" --opt-im-wt --out "$out/linked-$(basename "$weights")" \
        --html "$out/linked-$(basename "$weights")/clusters.html"
done
$python - "$data" "$out" << 'PYTHON'
import json
import sys
from pathlib import Path

data, out = map(Path, sys.argv[1:])
read = lambda path: json.loads(path.read_text())
made = read(data / "pictures/manifest.json")
linked = {"texts (Jaccard)": read(out / "jaccard/jaccard.json")["test"]["ari"]}
weights = {}
for folder in sorted(out.glob("linked-*")):
    linkage = read(folder / "linkage.json")
    name = folder.name.removeprefix("linked-")
    linked[name], weights[name] = linkage["test"]["ari"], linkage["image_weight"]
summary = {"pictures": made["pictures"], "classes": made["classes"], "linked_test_ari": linked, "image_weight": weights}
(out / "summary.json").write_text(json.dumps({**summary, **read(out / "losses/comparison.json")}, indent=1) + "\n")
PYTHON
printf '\n%s\n' "Pages: $out/losses/comparison.html, $out/linked-$best/clusters.html; figures: $out/summary.json" >&2
