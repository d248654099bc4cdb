"""Run ``hardpairs import-miniclip``."""

from hardpairs.cli.import_miniclip import main
from hardpairs.core.errors import run_command

if __name__ == "__main__":
    run_command(main)
