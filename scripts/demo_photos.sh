#!/usr/bin/env bash
# MiniCLIP's experiment on images that anyone can make: 210 captioned photographs, small towers against a fine-tuned model, from nothing to a search page.
#
#   bash scripts/demo_photos.sh             210 photographs of 70 stickers, three seeds of each method
#   bash scripts/demo_photos.sh --small     60 photographs, two epochs, one seed: minutes, for a look at the machinery
#   bash scripts/demo_photos.sh --seeds 1   fewer runs of each method (default 3)
#
# MiniCLIP's two text towers with its CNN, which need no weights from elsewhere, learn from the collection alone. The other method fine-tunes a small CLIP
# that was trained on photographs of other stickers. Data goes to data/photos, the rest to runs/photos (--data DIR, --out DIR choose others). Finished
# steps are not repeated.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seeds=3 small= out= data=
while [ $# -gt 0 ]; do
    case $1 in
        --seeds) seeds=${2:?--seeds needs a number}; shift ;;
        --out) out=${2:?--out needs a folder}; shift ;;
        --data) data=${2:?--data needs a folder}; shift ;;
        --small) small=1 seeds=1 ;;
        -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift
done
[[ $seeds =~ ^[1-9][0-9]*$ ]] || { echo "error: --seeds must be a number from 1, not $seeds" >&2; exit 2; }
name=photos${small:+-small}
out=${out:-runs/$name} data=${data:-data/$name}
say() { printf '\n[%s]\n' "$*" >&2; }
show_progress() { grep --line-buffered -E 'Train Epoch|^error|^  (where|why|fix):' >&2 || true; }

bash scripts/setup.sh
python=.venv/bin/python
mkdir -p "$data" "$out"

if [ -n "$small" ]; then
    photographs=60 others=480 steps=40 towers=miniclip-test epochs=(--epochs 2)
else
    photographs=210 others=12000 steps=600 towers= epochs=()
fi

say "demo_data: a collection, and class folders of other stickers"
$python -m tools.demo_data --layout captions --out "$data/collection" --pairs $photographs --views 3
$python -m tools.demo_data --layout classes --out "$data/others" --pairs $others --views 8

train() {  # NAME FLAGS...
    local name=$1
    shift
    [ -e "$out/$name/checkpoints/finished" ] && return
    say "train $name"
    rm -rf "${out:?}/$name"
    $python -m training.main --logs "$out" --name "$name" --device cpu --precision fp32 --workers 1 --log-every-n-steps 50 "$@" 2>&1 | show_progress
    touch "$out/$name/checkpoints/finished"
}

evaluate() {  # NAME METHOD SEED MODEL CHECKPOINT
    [ -e "$out/$1/evaluation.json" ] && return
    $python -m tools.evaluate --model "$4" --pretrained "$5" --data "$out/split/test.csv" --method "$2" --seed "$3" --baselines --protocol both \
        --results_dir "$out/results" --out "$out/$1"
}

train start --train-data "$data/others/train" --model hardpairs-small --batching random --augment none --batch-size 64 --max-steps $steps --lr 2e-3 --warmup 50
start=$out/start/checkpoints/epoch_1.pt
collection=(--captions-json "$data/collection/captions.json" "${epochs[@]}")
for ((seed = 0; seed < seeds; seed++)); do
    for text in lstm transformer; do  # the photographs have no more pixels than 64
        train $text-$seed --preset miniclip-$text --model ${towers:-miniclip-$text-cnn} --force-image-size 64 "${collection[@]}" --seed $seed
        evaluate $text-$seed $text $seed ${towers:-miniclip-$text-cnn} "$out/$text-$seed/checkpoints/best.pt"
    done
    train tuned-$seed --preset miniclip-openclip --model hardpairs-small --pretrained "$start" "${collection[@]}" --seed $seed \
        --lr 1e-4 --save-best text_to_image_R@1
    evaluate tuned-$seed tuned $seed hardpairs-small "$out/tuned-$seed/checkpoints/best.pt"
done
evaluate start start 0 hardpairs-small "$start"

say "compare"
$python -m tools.plot_run "$out/tuned-0" --out "$out/results"
$python -m tools.compare_runs "$out"/start "$out"/lstm-? "$out"/transformer-? "$out"/tuned-? --out "$out/results"
say "a page to search it"
$python -m tools.photo_search index "$data/collection/images" --model hardpairs-small --pretrained "$out/tuned-0/checkpoints/best.pt" --out "$out/index"
printf '\n%s\n' "Table: $out/results/comparison.md; figures: $out/results/*.png; page: $python -m tools.photo_search serve $out/index" >&2
