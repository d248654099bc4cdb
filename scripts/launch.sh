# Sourced by the scripts that train: the project's Python, the number of GPUs, and how the trainer is started.

python_of_project() { if [ -x "$root/.venv/bin/python" ]; then echo "$root/.venv/bin/python"; else echo python3; fi; }

# Prints the number of GPUs of this machine, or 1 without any.
gpus() {
    local count
    count=$(nvidia-smi --list-gpus 2>/dev/null | wc -l) || true
    echo $((count > 0 ? count : 1))
}

# launch TORCHRUN-OPTIONS... -- FLAGS...; a --print among the flags prints the command instead of running it.
launch() {
    [[ $PROCESSES =~ ^[1-9][0-9]*$ ]] || { echo "error: PROCESSES must be a number from 1, not $PROCESSES" >&2; return 2; }
    exec "$(python_of_project)" -m hardpairs.training.launch "$@"
}
