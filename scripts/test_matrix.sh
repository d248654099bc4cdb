#!/usr/bin/env bash
# Runs the tests once for each kind of processor that PyTorch can be told to be, and with 1, 2 and 4 threads. Arguments go to pytest.
#
#   bash scripts/test_matrix.sh                     the default tests, seven times
#   bash scripts/test_matrix.sh tests/mining -x
#
# A processor without AVX-512 ignores the setting that asks for it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
settings=(
    ATEN_CPU_CAPABILITY=default ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 ONEDNN_MAX_CPU_ISA=AVX512_CORE
    OMP_NUM_THREADS=1 OMP_NUM_THREADS=2 OMP_NUM_THREADS=4
)
failed=()
for setting in "${settings[@]}"; do
    echo "== $setting" >&2
    env "$setting" bash scripts/test.sh "$@" || failed+=("$setting")
done
[ ${#failed[@]} -eq 0 ] || { echo "error: tests fail with ${failed[*]}" >&2; exit 1; }
