"""The files that the stages hand to each other, and the images and captions in them.

``opening`` opens a data set of any format as ``samples``, rows by number; start reading there.
``table_rows``, ``shard_rows``, ``folder_rows``, ``listed_rows`` and ``stored_rows`` make rows of
one kind of data each, with readers such as ``tables`` and ``shards``. ``embeddings`` and
``hard_pairs`` are what embedding and mining write, ``manifest`` ties them to the data, ``splits``
cuts a data set in parts. ``images`` decodes images, ``unreadable`` decides what happens when that
fails, and ``words`` splits captions.
"""

from __future__ import annotations

from hardpairs.core.components import lazy_exports

_PUBLIC = {"HardPairTable": "hard_pairs", "open_samples": "opening"}
"""Public name: module that holds it."""

__all__ = [*_PUBLIC]
__getattr__ = lazy_exports(__name__, _PUBLIC)
