"""Run ``hardpairs models get``."""

from hardpairs.cli.models_get import main
from hardpairs.core.errors import run_command

if __name__ == "__main__":
    run_command(main)
