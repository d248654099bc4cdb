"""Embeddings in, hard pairs out.

``hard_pairs`` searches arrays; ``dataset.mine_dataset`` searches the embeddings of a data set, as
the command ``hardpairs mine`` does. Both call ``api.search``, which reads from top to bottom: put
similar rows together (``unit_vectors``), plan blocks and tiles that fit into memory (``plan``),
fill and decide lists block by block (``list_blocks``), and assemble the result (``result``).
``options`` says what a list may hold, and ``engine`` compares the pairs. Start reading with
``options``, then ``api``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardpairs.mining.api import hard_pairs

__all__ = ["hard_pairs"]


def __getattr__(name: str) -> Any:
    """Import ``hard_pairs`` when it is asked for: it needs PyTorch and numba."""
    if name == "hard_pairs":
        from hardpairs.mining.api import hard_pairs

        return hard_pairs
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
