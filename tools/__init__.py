"""Run a command of ours as ``python -m tools.NAME``; the code is in ``hardpairs.cli``."""
