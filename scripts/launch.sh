# Sourced by the train scripts: how torchrun is started and how a rank's failure reaches the shell.

torchrun_of_project() { if [ -x "$root/.venv/bin/torchrun" ]; then echo "$root/.venv/bin/torchrun"; else echo torchrun; fi; }

python_of_project() { if [ -x "$root/.venv/bin/python" ]; then echo "$root/.venv/bin/python"; else echo python3; fi; }

# Prints the message of the rank that failed first, then its exit code on stdout.
READ_STATUS='
import json, sys
status = json.load(open(sys.argv[1]))
print("", status["message"], "  rank: " + str(status["rank"]), sep="\n", file=sys.stderr)
print(status["code"])
'

# GPUs of this machine, at least 1 process.
gpus() {
    local count
    count=$(nvidia-smi --list-gpus 2>/dev/null | wc -l) || true
    echo $((count > 0 ? count : 1))
}

# launch TORCHRUN-OPTIONS... -m -- training.main FLAGS...; a --print among the flags shows the command instead.
launch() {
    local argument command=() print=
    [[ $PROCESSES =~ ^[1-9][0-9]*$ ]] || { echo "error: PROCESSES must be a number from 1, not $PROCESSES" >&2; return 2; }
    for argument in "$@"; do
        if [ "$argument" = --print ]; then print=1; else command+=("$argument"); fi
    done
    command=("$(torchrun_of_project)" "${command[@]}")
    if [ -n "$print" ]; then
        printf '%q ' "${command[@]}"
        echo
        return 0
    fi
    local status code=0
    status=$(mktemp -u "${TMPDIR:-/tmp}/hardpairs-status.XXXXXX")
    HARDPAIRS_STATUS_FILE=$status "${command[@]}" || code=$?
    if [ "$code" -ne 0 ] && [ -f "$status" ]; then
        code=$("$(python_of_project)" -c "$READ_STATUS" "$status")
        rm -f "$status"
    fi
    return "$code"
}
