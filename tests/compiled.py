"""Compile the search's loops before the tests, for all processes that run them.

    python -m tests.compiled

Compiling takes half a minute of processor time, and is kept on disk. Each process that begins
meanwhile would compile them, too.
"""

from __future__ import annotations

import numpy as np

from hardpairs.mining import hard_pairs

if __name__ == "__main__":
    rows = np.eye(64, dtype=np.float32)
    hard_pairs(rows, rows, top_k=5)
