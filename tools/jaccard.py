"""Run ``hardpairs jaccard``."""

from hardpairs.cli.jaccard import main
from hardpairs.core.errors import run_command

if __name__ == "__main__":
    run_command(main)
