"""Run ``hardpairs inspect-pairs``."""

from hardpairs.cli.inspect_pairs import main
from hardpairs.core.errors import run_command

if __name__ == "__main__":
    run_command(main)
