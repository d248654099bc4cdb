"""The console command ``hardpairs``, which ``hardpairs.cli.console`` runs.

hardpairs mine --embeddings EMB --dataset pairs --save_path mined
python -m hardpairs.cli mine ...                  # the same, without the script on the PATH
"""

from __future__ import annotations

from hardpairs.core.interrupts import run_module


def main() -> None:
    """Run the command that stands on the command line and end the process with its exit code."""
    run_module("hardpairs.cli.console")


if __name__ == "__main__":
    main()
