#!/usr/bin/env bash
# Runs the tests as if on other processors, and with other numbers of threads. Arguments go to pytest.
#
#   bash scripts/test_matrix.sh                     the default tests, twice
#   bash scripts/test_matrix.sh tests/mining -x
#
# Together with the usual run, which has one thread, each value is tried once; one at a time would take seven runs. A test
# that fails is run again with each variable alone, to see which it is. A processor without AVX-512 ignores the setting
# that asks for it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
settings=(
    "ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=2"
    "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX512_CORE OMP_NUM_THREADS=4"
)
export OMP_WAIT_POLICY=passive  # several test processes share the cores: threads that spin stop the others
failed=()
for setting in "${settings[@]}"; do
    echo "== $setting" >&2
    # shellcheck disable=SC2086  # several variables
    env $setting bash scripts/test.sh "$@" || failed+=("$setting")
done
[ ${#failed[@]} -eq 0 ] || { printf 'error: tests fail with %s\n' "${failed[@]}" >&2; exit 1; }
