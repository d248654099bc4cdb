"""One command per file: ``python -m tools.NAME``."""
