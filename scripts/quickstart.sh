#!/usr/bin/env bash
# From image-text pairs to a measurably better CLIP, on one page, on a machine without a GPU.
#
#   bash scripts/quickstart.sh              about eight minutes on two cores, after set-up
#   bash scripts/quickstart.sh --seeds 3    repeats the three continuations, for mean and spread
#   bash scripts/quickstart.sh --small      coloured shapes instead of stickers: one minute, for a look at the machinery
#   bash scripts/quickstart.sh --force      does finished steps again
#
# Each step is a command that one would run on real data; it is printed before it runs. Finished steps are not repeated: after Ctrl-C
# the same line goes on. Where a step is done again, all steps after it are, too. Data goes to data/quickstart, everything else to
# runs/quickstart (--out DIR, --data DIR choose others).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seeds=1 small= force= out= data=
while [ $# -gt 0 ]; do
    case $1 in
        --seeds) seeds=${2:-none}; shift $(($# > 1)) ;;
        --out) out=${2:?--out needs a folder}; shift ;;
        --data) data=${2:?--data needs a folder}; shift ;;
        --small) small=1 ;;
        --force) force=1 ;;
        -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift
done
[[ $seeds =~ ^[1-9][0-9]*$ ]] || { echo "error: --seeds must be a number from 1, not $seeds" >&2; exit 2; }

# The settings. They were chosen on the validation photographs alone; docs/quickstart.md tells what was tried.
if [ -n "$small" ]; then
    name=quickstart-small model=hardpairs-test
    demo_flags=(--kind scenes --pairs 300)
    base_flags=(--batch-size 32 --max-steps 150 --lr 2e-3 --warmup 5)
    more_flags=(--batch-size 8 --max-steps 40 --lr 5e-4 --warmup 2 --freeze-bn-stats)
    hard_flags=(--hard-topk 20)
    sanw_flags=(--sanw-delta 0.85)
else
    name=quickstart model=hardpairs-small
    demo_flags=(--pairs 15344)
    base_flags=(--batch-size 64 --max-steps 400 --lr 2e-3 --warmup 50)
    more_flags=(--batch-size 16 --max-steps 500 --lr 2e-4 --warmup 10 --freeze-bn-stats)
    hard_flags=(--hard-topk 20 --hard-per-target 3)
    sanw_flags=(--sanw-delta 0.85)
fi
out=${out:-runs/$name} data=${data:-data/$name}
python=.venv/bin/python
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}  # the tensors are tiny: a second thread costs more than it gives


say() { printf '%s\n' "$@" >&2; }

# One server for the downloads, started when the first of them is due.
server=
start_server() {
    [ -z "$server" ] || return 0
    rm -f "$data/server.json"
    $python -m tools.demo_data --out "$data" "${demo_flags[@]}" --serve 2> "$out/logs/server.log" >&2 &
    server=$!
    for _ in $(seq 200); do [ -e "$data/server.json" ] || sleep 0.1; done
}
stop_server() {
    if [ -n "$server" ]; then kill "$server" 2> /dev/null || true; wait "$server" 2> /dev/null || true; fi
    server=
}
trap stop_server EXIT
trap 'say "" "interrupted: finished steps stay; the same command goes on"; exit 130' INT TERM

# What one wants to see of a long log: messages of our own, and the training steps in short.
progress() {
    grep --line-buffered -E 'Train Epoch|^error|^  (where|why|fix):|rejected|hard pairs:' \
        | sed -u -E 's/^.*Train Epoch.*\(([0-9]+%)\).*, ([0-9]+)[0-9.]*\/s,.* Loss: ([0-9.]+) .*/    \1 of the steps, \2 pairs per second, loss \3/; s/^/  /' || true
}

printed() { printf '%q ' "$@" | sed 's,\.venv/bin/,,; s/ $//'; }

# finished NAME RESULT COMMAND...: whether the same command has made RESULT, after the step before it was done for the last time. Marks
# are compared by age, so that this holds over interruptions, too.
before=
finished() {
    local mark=$out/.done/$1 result=$2
    shift 2
    [ -e "$result" ] && [ "$(cat "$mark" 2> /dev/null)" = "$(printed "$@")" ] && [ ! "$mark" -ot "${before:-$mark}" ]
}

# step NAME RESULT COMMAND...: prints a command and runs it, unless it is finished.
step() {
    local step=$1 result=$2 started=$SECONDS code=0 line
    if finished "$@"; then
        say "[$step] done before"
        before=$out/.done/$step
        return
    fi
    shift 2
    line=$(printed "$@")
    say "" "[$step] $line"
    rm -rf "$out/.done/$step"
    "$@" > "$out/logs/$step.out" 2> >(tee "$out/logs/$step.log" | progress >&2) || code=$?
    if [ "$code" -ne 0 ]; then
        say "" "The step failed; its whole log is $out/logs/$step.log, which ends with:"
        tail -n 12 "$out/logs/$step.log" >&2
        exit "$code"
    fi
    sed -i "/^$step\t/d" "$out/steps.tsv"
    printf '%s\t%s\t%s\n' "$step" "$((SECONDS - started))" "$line" >> "$out/steps.tsv"
    echo "$line" > "$out/.done/$step"
    before=$out/.done/$step
}

# anew FOLDER NAME RESULT COMMAND...: a step that goes on with nothing that lies in FOLDER.
anew() {
    local folder=$1
    shift
    finished "$@" || rm -rf "${folder:?}"
    step "$@"
}

download() {  # SPLIT PROCESSES
    local parts=("download_$1" "$data/shards/$1" env PROCESSES="$2" THREADS=32 bash scripts/download_table.sh "$data/$1.tsv" "$data/shards/$1"
        --number_sample_per_shard 4000)
    finished "${parts[@]}" || start_server
    anew "$data/shards/$1" "${parts[@]}"
}

# train RUN FLAGS...: a run in two processes.
train() {
    local run=$1
    shift
    anew "$out/$run" "train_$run" "$out/$run/checkpoints/epoch_1.pt" env PROCESSES=2 bash scripts/train_node.sh --train-data "$data/train.csv" \
        --csv-separator , --csv-img-key filepath --csv-caption-key title --model "$model" --precision fp32 --device cpu --workers 1 \
        --log-every-n-steps 25 --logs "$out" --name "$run" "$@"
}

evaluate() {  # RUN METHOD SEED
    step "evaluate_$1" "$out/$1/evaluation.json" $python -m tools.evaluate --model "$model" --pretrained "$out/$1/checkpoints/epoch_1.pt" \
        --data "$data/test.csv" --hard-pairs "$out/mined/test_hard_sample.csv" --method "$2" --seed "$3" --out "$out/$1"
}

say "openclip-hardpairs quickstart: data in $data, results in $out"
if [ -n "$force" ]; then rm -rf "${out:?}/.done"; fi
mkdir -p "$out/logs" "$out/.done" "$data"
touch "$out/steps.tsv"
if [ "$(df -Pk "$out" | awk 'NR == 2 { print int($4 / 1024) }')" -lt 2000 ]; then
    say "error: less than 2 GB are free in $out" "  fix: free space, or choose other folders with --out and --data"
    exit 5
fi
bash scripts/setup.sh

# 1 to 3: pictures behind URLs, downloaded into shards, listed as a table
step demo_data "$data/train.tsv" $python -m tools.demo_data --out "$data" "${demo_flags[@]}"
download train 2
for split in val test; do download "$split" 1; done
stop_server
for split in train val test; do
    step "csv_$split" "$data/$split.csv" $python -m tools.wds_to_csv --shards "$data/shards/$split" --out "$data/$split.csv"
done

# 4: a small CLIP from scratch
train base --batching random "${base_flags[@]}"
base=$out/base/checkpoints/epoch_1.pt

# 5: its hard pairs; on the test set for evaluation only
for split in train test; do
    anew "$out/embeddings/$split" "embed_$split" "$out/embeddings/$split/manifest.json" $python -m mining.embed \
        --csv "$data/$split.csv" --model "$model" --pretrained "$base" --out "$out/embeddings/$split"
    step "mine_$split" "$out/mined/${split}_hard_sample.csv" $python -m mining.hard_pair_mining --dataset "$split" --save_path "$out/mined" \
        --topk 50 --embeddings "$out/embeddings/$split"
done

# 6 and 7: three continuations with equal steps, batch size, learning rate and mask, and their evaluation
hard=(--use-hard --hard-dict-dir "$out/mined/train_hard_sample.csv" "${hard_flags[@]}")
evaluate base base 0
for ((seed = 0; seed < seeds; seed++)); do
    suffix=$([ "$seed" -eq 0 ] || echo "-seed$seed")
    common=(--pretrained "$base" --seed "$seed" "${more_flags[@]}")
    train "plain$suffix" "${common[@]}" --batching random
    train "hard$suffix" "${common[@]}" "${hard[@]}"
    train "hard_sanw$suffix" "${common[@]}" "${hard[@]}" --loss-fn sanw_debias "${sanw_flags[@]}"
    for method in plain hard hard_sanw; do evaluate "$method$suffix" "$method" "$seed"; done
done

# 8: one page
step report "$out/report.html" $python -m tools.report "$out"/base "$out"/plain* "$out"/hard* --steps "$out/steps.tsv" \
    --summary "$out/summary.json" --out "$out/report.html"
cat "$out/logs/report.out"
cat << END

The page: $out/report.html
On your own pairs (a CSV with the columns filepath and title), starting from your model:
  $python -m mining.embed --csv pairs.csv --model ViT-B-32 --pretrained start.pt --out emb
  $python -m mining.hard_pair_mining --dataset pairs --save_path mined --embeddings emb
  bash scripts/train_node.sh --train-data pairs.csv --csv-separator , --csv-caption-key title --model ViT-B-32 --pretrained start.pt --use-hard --hard-dict-dir mined/pairs_hard_sample.csv --batch-size 256 --lr 1e-5 --warmup-epochs 0.1 --epochs 1
END
