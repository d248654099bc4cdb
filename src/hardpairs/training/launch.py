"""Start the trainer under torchrun, and pass on the exit code and message of the rank that failed.

Usage:

    python -m hardpairs.training.launch [--print] TORCHRUN-OPTIONS -- TRAINING-FLAGS

A run that has a name goes on from its last checkpoint: ``--resume latest`` is added to its flags.
"""

from __future__ import annotations

from hardpairs.core.interrupts import run_module

if __name__ == "__main__":
    run_module("hardpairs.training.trainer_process")
