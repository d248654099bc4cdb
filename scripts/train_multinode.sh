#!/usr/bin/env bash
# Trains on several machines. Start the same line on each of them; they find each other at the address of the first.
#
#   NODES=4 HEAD=node0:29500 bash scripts/train_multinode.sh [--print] --train-data pairs.csv --model ViT-B-32 ...
#
# NODES      number of machines
# HEAD       host:port of one of them, reachable by all
# JOB        name of the run, the same on all machines (default hardpairs); another name keeps two runs on one HEAD apart
# PROCESSES  processes per machine (default: its GPUs)
# INTERFACE  network interface for NCCL and gloo, such as eth0 (default: they choose)
# TIMEOUT    seconds to wait for the other machines (default 600)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/launch.sh"
if [ -z "${NODES:-}" ] || [ -z "${HEAD:-}" ]; then
    echo "error: NODES and HEAD are needed" >&2
    sed -n '4,11s/^# \{0,1\}/  /p' "$0" >&2
    exit 2
fi
if [ -n "${INTERFACE:-}" ]; then export NCCL_SOCKET_IFNAME=$INTERFACE GLOO_SOCKET_IFNAME=$INTERFACE; fi
if [ -z "${PROCESSES:-}" ]; then PROCESSES=$(gpus); fi
launch --nnodes "$NODES" --nproc_per_node "$PROCESSES" --rdzv_backend c10d --rdzv_endpoint "$HEAD" --rdzv_id "${JOB:-hardpairs}" \
    --rdzv_conf "join_timeout=${TIMEOUT:-600}" -- "$@"
