"""Embeddings in, hard pairs out."""
