"""Data sets by name: HELIP's command line names ``cc3m``, not a path.

A name is looked up in ``datasets.yaml`` of the working folder, then in the folder
``$HARDPAIRS_DATA/NAME``. The file has an entry for each name:

    cc3m:
      shards: /data/cc3m          # a folder of img2dataset's tars
      embeddings: /data/cc3m_emb  # optional: their embeddings, ours or clip-retrieval's
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hardpairs.core.errors import bad_input, usage
from hardpairs.core.parse import parse_yaml
from hardpairs.data.shards import expand_shards

FILE = "datasets.yaml"


@dataclass(frozen=True)
class Dataset:
    """A data set that has a name.

    Attributes:
        name: Its name.
        shards: Its shards, a folder or pattern; ``None`` where unknown.
        embeddings: A folder of its embeddings; ``None`` where unknown.
    """

    name: str
    shards: str | None = None
    embeddings: str | None = None


def find_dataset(name: str) -> Dataset:
    """Return the data set of a name.

    Raises:
        UserError: exit 2 for an unknown name, exit 3 when ``datasets.yaml`` cannot be read.
    """
    entry = _listed(Path(FILE)).get(name)
    if entry is not None:
        return Dataset(name, entry.get("shards"), entry.get("embeddings"))
    root = os.environ.get("HARDPAIRS_DATA")
    folder = Path(root) / name if root else None
    if folder is None or not folder.is_dir():
        raise usage(
            f"no data set has the name {name!r}",
            where=f"{FILE}; HARDPAIRS_DATA={root or '(not set)'}",
            fix=f"give `embeddings`, or name its shards in {FILE}, "
            f"or set HARDPAIRS_DATA to the folder that holds {name}/",
        )
    embeddings = folder / "embeddings"
    return Dataset(name, str(folder), str(embeddings) if embeddings.is_dir() else None)


def _listed(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    try:
        content = parse_yaml(path.read_text(encoding="utf-8")) or {}
    except ValueError as error:
        raise bad_input(f"not a readable YAML file: {error}", where=str(path)) from None
    good = isinstance(content, dict) and all(
        isinstance(entry, dict)
        and set(entry) <= {"shards", "embeddings"}
        and all(isinstance(value, str) for value in entry.values())
        for entry in content.values()
    )
    if not good:
        raise bad_input(
            "each entry must be NAME: {shards: PATH, embeddings: FOLDER}", where=str(path)
        )
    return content


def shards_between(source: str, start: int | None, end: int | None) -> list[str]:
    """Return the tars whose number (00012.tar is 12) is in a range.

    Args:
        source: Shards as in ``expand_shards``.
        start: The first number; ``None`` is the lowest.
        end: The last number, included as in HELIP; ``None`` is the highest.

    Raises:
        UserError: exit 2 when no tar is left, or a tar has no number.
    """
    paths = expand_shards(source)
    if start is None and end is None:
        return [str(path) for path in paths]
    unnumbered = [path.name for path in paths if not path.stem.isdigit()]
    if unnumbered:
        raise usage(
            "`start_tar` and `end_tar` count tars named by number", where=", ".join(unnumbered[:5])
        )
    first, last = start or 0, end if end is not None else max(int(path.stem) for path in paths)
    chosen = [str(path) for path in paths if first <= int(path.stem) <= last]
    if not chosen:
        raise usage(f"no tar from {first} to {last}", where=source)
    return chosen
