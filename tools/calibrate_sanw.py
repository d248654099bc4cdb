"""Run ``hardpairs calibrate``."""

from hardpairs.cli.calibrate import main
from hardpairs.core.errors import run_command

if __name__ == "__main__":
    run_command(main)
