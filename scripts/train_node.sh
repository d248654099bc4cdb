#!/usr/bin/env bash
# Trains on this machine with torchrun, one process per GPU (without one: PROCESSES, default 1).
#
#   bash scripts/train_node.sh [--print] --train-data pairs.csv --model ViT-B-32 ...      every flag of training.main
#
# --print shows the final command and stops. PROCESSES=N sets the number of processes. The exit code and the last message are
# those of the first rank that failed; torchrun itself returns 1 whatever happened.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/launch.sh"
if [ -z "${PROCESSES:-}" ]; then PROCESSES=$(gpus); fi
launch --standalone --nproc_per_node "$PROCESSES" -- "$@"
