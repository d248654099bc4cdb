"""Run ``hardpairs train``."""

from __future__ import annotations

from hardpairs.core.interrupts import run_module


def main(argv: list[str] | None = None) -> int:
    """Train with the arguments of a command line."""
    from hardpairs.cli.train import main as train

    return train(argv)


if __name__ == "__main__":
    run_module("hardpairs.cli.train")
