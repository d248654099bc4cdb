"""Samples in, unit embeddings out.

``embed`` holds the two entry points: ``embed`` returns the embeddings of a data set, and
``embed_to_folder`` writes them in clip-retrieval's layout, part by part, so that the same command
continues a killed run and shares the work of a running one. ``stream`` decodes and encodes batches,
``parts`` stores finished parts, ``making`` makes those that no other process makes, and ``joining``
joins them. Start reading with ``embed``.
"""
