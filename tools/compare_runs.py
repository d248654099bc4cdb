"""Run ``hardpairs compare-runs``."""

from hardpairs.cli.compare_runs import main
from hardpairs.core.errors import run_command

if __name__ == "__main__":
    run_command(main)
