"""Run ``hardpairs retrieve``."""

from hardpairs.cli.retrieve import main
from hardpairs.core.errors import run_command

if __name__ == "__main__":
    run_command(main)
