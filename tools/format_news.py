"""Run ``hardpairs format-news``."""

from hardpairs.cli.format_news import main
from hardpairs.core.errors import run_command

if __name__ == "__main__":
    run_command(main)
