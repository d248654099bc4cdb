"""Run ``hardpairs evaluate``."""

from hardpairs.cli.evaluate import main
from hardpairs.core.errors import run_command

if __name__ == "__main__":
    run_command(main)
