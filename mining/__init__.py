"""Run mining as ``python -m mining.NAME``; the code is in ``hardpairs.cli``."""
