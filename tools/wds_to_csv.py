"""Run ``hardpairs list-shards``."""

from hardpairs.cli.list_shards import main
from hardpairs.core.errors import run_command

if __name__ == "__main__":
    run_command(main)
