#!/usr/bin/env bash
# Before a job is submitted: fetches the weights of a training command, and checks its flags and data.
#
#   bash scripts/stage.sh --train-data pairs.csv --model ViT-B-32 --pretrained laion2b_s34b_b79k ...    every flag of training.main
#
# Run it where there is a network, such as on the login node, with the cache ($HF_HOME) that the compute nodes see.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/launch.sh"
exec "$(python_of_project)" -m hardpairs.cli stage "$@"
