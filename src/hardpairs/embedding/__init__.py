"""Samples in, unit embeddings out; ``embed`` is the place to start reading."""
