"""Run ``hardpairs export``."""

from hardpairs.core.interrupts import run_module

if __name__ == "__main__":
    run_module("hardpairs.cli.export")
