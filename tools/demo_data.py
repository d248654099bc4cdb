"""Run ``hardpairs demo-data``."""

from hardpairs.cli.demo_data import main
from hardpairs.core.errors import run_command

if __name__ == "__main__":
    run_command(main)
