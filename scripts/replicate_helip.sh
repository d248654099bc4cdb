#!/usr/bin/env bash
# HELIP's experiment (arXiv 2305.05208) on a machine with GPUs: a CLIP goes on training on CC3M with plain batches, with
# hard-pair batches, and with HELIP's loss on those; each is measured by zero-shot, linear-probe and retrieval data sets.
#
#   bash scripts/replicate_helip.sh --data SHARDS --zero-shot imagenet/val [FLAGS] [-- TRAINING-FLAGS]
#
#   --data PATH          the shards of scripts/download_cc3m.sh, or a table
#   --pretrained FILE    where all runs start; without it --model is first trained on the data: 32 epochs at 5e-4
#   --model NAME         its model (ViT-B-16)
#   --zero-shot DIR      class folders; again for each: ImageNet's validation images, CIFAR-10, Food101, ...
#   --linear-probe DIR   with train/CLASS/ and test/CLASS/; again for each
#   --retrieval DATA     a table, or dataset_flickr30k.json of Karpathy's test split; again for each
#   --mine-with-start    hard pairs by the start model, instead of DINOv2 and all-mpnet-base-v2 (two downloads)
#   --duplicate-threshold .98    cosine above which two images or captions are no hard pair
#   --batch-size 420     of each process    --epochs 2    --lr 1e-5    --warmup 500    --topk 50    --seed 0
#   --out DIR            runs/helip
#   --dry-run            prints every command and runs none
#
# An epoch of hard-pair batches holds each pair as a target and one hard pair beside it: the plain run has twice the epochs,
# and so as many pairs. PROCESSES=N sets the processes of each step. Stopped, the same command goes on.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
self=$here/scripts/${BASH_SOURCE[0]##*/}
. "$here/scripts/launch.sh"

usage() { sed -n '2,22s/^# \{0,1\}//p' "$self"; }
data= pretrained= model=ViT-B-16 out=$here/runs/helip dry= own=
batch=420 epochs=2 lr=1e-5 warmup=500 topk=50 seed=0 duplicates=.98
zero_shot=() probes=() retrieval=()
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage; exit 0 ;;
        --dry-run) dry=1; shift; continue ;;
        --mine-with-start) own=1; shift; continue ;;
        --) shift; break ;;
    esac
    [ $# -gt 1 ] || { echo "error: $1 needs a value, or is unknown" >&2; usage >&2; exit 2; }
    case $1 in
        --data) data=$2 ;;
        --pretrained) pretrained=$2 ;;
        --model) model=$2 ;;
        --zero-shot) zero_shot+=("$2") ;;
        --linear-probe) probes+=("$2") ;;
        --retrieval) retrieval+=("$2") ;;
        --batch-size) batch=$2 ;;
        --epochs) epochs=$2 ;;
        --lr) lr=$2 ;;
        --warmup) warmup=$2 ;;
        --topk) topk=$2 ;;
        --seed) seed=$2 ;;
        --duplicate-threshold) duplicates=$2 ;;
        --out) out=$2 ;;
        *) echo "error: there is no flag $1" >&2; usage >&2; exit 2 ;;
    esac
    shift 2
done
more=("$@")
[ -n "$data" ] || { echo "error: --data is missing" >&2; usage >&2; exit 2; }
[ $((${#zero_shot[@]} + ${#probes[@]} + ${#retrieval[@]})) -gt 0 ] \
    || { echo "error: nothing to measure: give --zero-shot, --linear-probe or --retrieval" >&2; exit 2; }
if [ -z "$dry" ]; then bash "$here/scripts/setup.sh"; fi
python=$here/.venv/bin/python
export PROCESSES=${PROCESSES:-$(gpus)}

step() {  # COMMAND...
    printf '%q ' "$@"; echo
    if [ -z "$dry" ]; then "$@" >&2; fi
}

train() {  # NAME FLAGS...
    local name=$1
    shift
    step bash "$here/scripts/train_node.sh" --train-data "$data" --model "$model" --batch-size "$batch" --seed "$seed" \
        --logs "$out" --name "$name" --resume latest "$@" ${more[@]+"${more[@]}"}
}

measure() {  # NAME CHECKPOINT
    local folder common=(--model "$model" --pretrained "$2" --method "$1" --seed "$seed")
    for folder in ${zero_shot[@]+"${zero_shot[@]}"}; do
        step "$python" -m tools.evaluate "${common[@]}" --zero-shot "$folder" --out "$out/$1/zero-shot-$(name "$folder")"
    done
    for folder in ${probes[@]+"${probes[@]}"}; do
        step "$python" -m tools.evaluate "${common[@]}" --linear-probe "$folder" --out "$out/$1/probe-$(name "$folder")"
    done
    for folder in ${retrieval[@]+"${retrieval[@]}"}; do
        local part=()
        case $folder in *dataset_flickr*.json | *dataset_coco.json) part=(--split test) ;; esac
        step "$python" -m tools.evaluate "${common[@]}" --data "$folder" ${part[@]+"${part[@]}"} \
            --out "$out/$1/retrieval-$(name "$folder")"
    done
}

name() {  # the last two words of a path: imagenet-val
    local path
    path=$(realpath -m "$1")
    echo "$(basename "$(dirname "$path")")-$(basename "${path%.*}")"
}

case $data in *.csv) more=(--csv-separator , ${more[@]+"${more[@]}"}) ;; esac
start=$pretrained
if [ -z "$start" ]; then
    train start --batching random --epochs 32 --lr 5e-4 --warmup 10000
    start=$out/start/checkpoints/epoch_32.pt
fi
encoders=(--preset helip)
if [ -n "$own" ]; then encoders=(--model "$model" --pretrained "$start"); fi
case $data in *.csv | *.tsv | *.json) source=(--csv "$data") ;; *) source=(--shards "$data") ;; esac
step "$python" -m torch.distributed.run --standalone --nproc_per_node "$PROCESSES" -m mining.embed "${source[@]}" "${encoders[@]}" \
    --out "$out/embeddings"
step "$python" -m mining.hard_pair_mining --dataset train --embeddings "$out/embeddings" --save_path "$out/mined" --topk "$topk" \
    --duplicate-threshold "$duplicates"
more=(--pretrained "$start" --lr "$lr" --warmup "$warmup" ${more[@]+"${more[@]}"})
hard=(--use-hard --hard-dict-dir "$out/mined/train_hard_sample.csv" --hard-topk "$topk" --epochs "$epochs")
train plain --batching random --epochs $((2 * epochs))
train hard "${hard[@]}"
train helip "${hard[@]}" --loss-fn helip
measure start "$start"
measure plain "$out/plain/checkpoints/epoch_$((2 * epochs)).pt"
for name in hard helip; do measure "$name" "$out/$name/checkpoints/epoch_$epochs.pt"; done
if [ -n "$dry" ]; then exit 0; fi

"$python" - "$out" << 'PYTHON'
import json
import sys
from pathlib import Path

METHODS = ("start", "plain", "hard", "helip")
out = Path(sys.argv[1])


def numbers(folder):
    """Yield name and percent of what one evaluation measured."""
    if (folder / "classes.json").is_file():
        record = json.loads((folder / "classes.json").read_text())
        for kind in ("zero_shot", "linear_probe"):
            if kind in record:
                yield f"{folder.name}, top-1", 100 * record[kind]["top-1"]
    else:
        metrics = json.loads((folder / "evaluation.json").read_text())
        for direction in ("image_to_text", "text_to_image"):
            yield f"{folder.name}, {direction} R@1", 100 * metrics[f"{direction}_R@1"]


table = {}
for method in METHODS:
    for folder in sorted((out / method).glob("*-*/")):
        for key, value in numbers(folder):
            table.setdefault(key, {})[method] = value
print(f"| | {' | '.join(METHODS)} | helip - start | helip - plain |\n|{'---|' * (len(METHODS) + 3)}")
for key, row in table.items():
    cells = [f"{row[method]:.2f}" for method in METHODS]
    gains = [f"{row['helip'] - row[method]:+.2f}" for method in ("start", "plain")]
    print(f"| {key} | {' | '.join([*cells, *gains])} |")
PYTHON
