"""Run ``hardpairs check``."""

from hardpairs.cli.check_data import main
from hardpairs.core.errors import run_command

if __name__ == "__main__":
    run_command(main)
