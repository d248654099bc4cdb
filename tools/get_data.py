"""Run ``hardpairs data get``."""

from hardpairs.cli.data_get import main
from hardpairs.core.errors import run_command

if __name__ == "__main__":
    run_command(main)
