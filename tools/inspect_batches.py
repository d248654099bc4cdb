"""Run ``hardpairs inspect-batches``."""

from hardpairs.cli.inspect_batches import main
from hardpairs.core.errors import run_command

if __name__ == "__main__":
    run_command(main)
