"""Search one's own photographs by words, by picture, or by both, on this machine alone.

    python -m tools.photo_search index ~/Pictures --out photos.index
    python -m tools.photo_search query photos.index "a dog in the snow" --top 5
    python -m tools.photo_search serve photos.index

``index`` is quick the second time: unchanged files are not opened. ``query`` prints paths for pipes. ``serve`` opens a page on 127.0.0.1.
MiniCLIP's demonstration: ``--model_type lstm``, and with ``--batch`` for queries by lot (docs/photos.md).
"""

from __future__ import annotations

import sys

from formats.errors import run_command
from tools.photos.commands import main

if __name__ == "__main__":
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]  # a file name need not be UTF-8
    run_command(main)
