"""Brings an index up to what lies in its folders: keeps, moves, embeds, forgets. Stopped anywhere, what was embedded is kept."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from hardpairs.core.atomic import write_text
from hardpairs.core.errors import bad_input, usage
from hardpairs.data.images import HEIC_REASON, can_read_heic
from hardpairs.data.manifest import NAME
from hardpairs.photos.index import Index, check_model, write_index
from hardpairs.photos.model import ModelName
from hardpairs.photos.scan import Found, Place, scan
from hardpairs.photos.stock import FOLDER, Journal, Stock, Where
from hardpairs.photos.table import NO_DIGEST, Row, Table

if TYPE_CHECKING:
    from hardpairs.models.encoders import Encoders

COMMIT_ROWS = 1024
"""Rows between two notes in the journal: what a kill can cost."""
UNREAD_LIST = "unreadable.txt"


@dataclass
class Outcome:
    """What a run did; ``unreadable`` by reason, all of them and not only the new ones."""

    photos: int
    new: int = 0
    moved: int = 0
    forgotten: int = 0
    unreadable: dict[str, int] = field(default_factory=dict)
    passed_over: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """``kept``: where the stock has a place's embedding; ``unread``: reasons that still hold; ``todo``: places to open."""

    kept: dict[Place, Where]
    unread: dict[Place, str]
    todo: list[Place]


def plan(found: Found, stock: Stock) -> Plan:
    """A place whose size and time are as they were is not opened again."""
    kept, unread, todo = {}, dict(found.torn), []
    for place in found.places:
        known, where = stock.by_place.get(place[:2], (None, None))
        tried, reason = stock.unread.get(place[:2], (None, ""))
        if known == place and where is not None:
            kept[place] = where
        elif tried == place and not (reason == HEIC_REASON and can_read_heic()):
            unread[place] = reason
        else:
            todo.append(place)
    return Plan(kept, unread, todo)


def update_index(
    sources: list[str],
    out: Path,
    *,
    model: str | None = None,
    pretrained: str | None = None,
    device: str = "cpu",
    batch_size: int | None = None,
    workers: int = 2,
) -> Outcome:
    """Makes an index, or brings it up to date. After it the index holds what ``sources`` hold now, and nothing else.

    Args:
        sources: as in ``hardpairs.photos.scan.scan``; none: those of the last time.
        model, pretrained: by default the index's own, for a new one ``hardpairs.photos.model.DEFAULT``.
        batch_size: pictures encoded at once; by default 16 on a CPU, where more are slower, else 64.

    Raises:
        UserError: exit 2 for wrong paths, exit 3 when there is no picture at all, exit 4 for an index of another model.
        KeyboardInterrupt: after what was embedded so far has been put into the index.
    """
    batch_size = batch_size or (16 if device == "cpu" else 64)
    with _alone(out):
        old = Index.open(out) if (out / NAME).exists() else None
        sources = [os.path.abspath(source) for source in sources] or (
            old.manifest["sources"] if old is not None else []
        )
        name = ModelName.choose(model, pretrained, old)
        found = scan(sources)
        _check_found(found, sources, old)
        encoders = None if old is not None and name.surely_made(old) else _load(name, device, old)
        description = encoders.description if encoders is not None else old.model  # type: ignore[union-attr]
        stock, journal = Stock(), Journal(out, description)
        if old is not None:
            stock.add(old.photos, old.embeddings, old.unread)
        unfinished = journal.load_into(stock)
        work, counts, stopped = plan(found, stock), Counter[str](), None
        if (
            old is not None
            and encoders is None
            and not unfinished
            and _nothing_changed(old, work, found, sources)
        ):
            return _outcome(old, work, found, counts, old)
        if work.todo:
            encoders = encoders or _load(name, device, old)
            try:
                counts = _embed(
                    work.todo,
                    found,
                    stock,
                    journal,
                    encoders,
                    device=device,
                    batch_size=batch_size,
                    workers=workers,
                )
            except KeyboardInterrupt as error:
                stopped = error
            work = plan(found, stock)
        _commit(out, work, stock, found, {**description, **name.facts(), "sources": sources})
        journal.remove()
        if stopped is not None:
            raise stopped
        return _outcome(Index.open(out), work, found, counts, old)


def _load(name: ModelName, device: str, old: Index | None) -> Encoders:
    encoders = name.load(device, download=True)
    if old is not None:
        check_model(old, encoders.description)
    return encoders


def _nothing_changed(old: Index, work: Plan, found: Found, sources: list[str]) -> bool:
    if (
        work.todo
        or len(work.kept) != len(old)
        or len(work.unread) != len(old.unread)
        or old.manifest["sources"] != sources
    ):
        return False
    told = zip(old.photos.places(), old.photos.notes, strict=True)
    return all(caption == found.captions.get(place[:2], "") for place, caption in told)


class _Pending:
    """Batches on their way into the stock and the journal. One is added in one step, so that Ctrl-C leaves whole ones."""

    def __init__(self, stock: Stock, journal: Journal) -> None:
        self.stock, self.journal = stock, journal
        self._batches: list[tuple[list[Row], list[np.ndarray], list[Row]]] = []

    def add(self, rows: list[Row], vectors: list[np.ndarray], bad: list[Row]) -> None:
        """``vectors``: blocks that together are one vector for each of ``rows``."""
        self._batches.append((rows, vectors, bad))
        if sum(len(rows) + len(bad) for rows, _, bad in self._batches) >= COMMIT_ROWS:
            self.write()

    def write(self) -> None:
        if not self._batches:
            return
        rows, blocks, bad = (
            list(itertools.chain.from_iterable(column))
            for column in zip(*self._batches, strict=True)
        )
        table, unread = Table.of(rows), Table.of(bad)
        vectors = np.concatenate(blocks) if blocks else np.zeros((0, self.stock.width), np.float32)
        self.journal.append(table, vectors, unread)
        self.stock.add(table, vectors, unread)
        self._batches.clear()  # last: what is added twice does no harm


def _embed(
    todo: list[Place],
    found: Found,
    stock: Stock,
    journal: Journal,
    encoders: Encoders,
    *,
    device: str,
    batch_size: int,
    workers: int,
) -> Counter[str]:
    """Adds to the stock, and to the journal, what the places hold; how many were new, and how many only moved."""
    from hardpairs.photos.encoding import encode_pixels, loading

    known, counts, pending = (
        frozenset(stock.by_digest) - {NO_DIGEST},
        Counter[str](),
        _Pending(stock, journal),
    )
    batches = loading(
        todo, found.captions, known, encoders.image, batch_size=batch_size, workers=workers
    )
    waited, start = 0.0, time.perf_counter()
    try:
        with tqdm(
            total=len(todo), unit="photo", desc="index", file=sys.stderr, disable=None
        ) as bar:
            while True:
                before = time.perf_counter()
                batch = next(batches, None)
                waited += time.perf_counter() - before
                if batch is None:
                    return counts
                encoded = (
                    [encode_pixels(encoders, batch.pixels, device)]
                    if batch.pixels is not None
                    else []
                )
                theirs = stock.vectors([stock.by_digest[row.digest] for row in batch.known])
                pending.add(batch.good + batch.known, [*encoded, *theirs], batch.bad)
                counts.update(new=len(batch.good), moved=len(batch.known))
                bar.update(len(batch.good) + len(batch.known) + len(batch.bad))
                bar.set_postfix_str(
                    f"waiting for pictures {waited / (time.perf_counter() - start):.0%}",
                    refresh=False,
                )
    finally:
        pending.write()


def _commit(out: Path, work: Plan, stock: Stock, found: Found, content: dict[str, Any]) -> None:
    wanted = list(work.kept.values())
    digests = (stock.parts[part][0].digest[row].tobytes() for part, row in wanted)
    photos = Table.of(
        Row(place, digest, found.captions.get(place[:2], ""))
        for place, digest in zip(work.kept, digests, strict=True)
    )
    unread = Table.of(Row(place, NO_DIGEST, reason) for place, reason in work.unread.items())
    write_index(out, stock.vectors(wanted), len(wanted), stock.width, photos, unread, content)
    lines = [
        f"{reason}\t{place.path}{'/' if place.key else ''}{place.key}\n"
        for place, reason in work.unread.items()
    ]
    write_text(out / UNREAD_LIST, "".join(lines).encode("utf-8", "backslashreplace").decode())


def _outcome(
    index: Index, work: Plan, found: Found, counts: Counter[str], old: Index | None
) -> Outcome:
    now = {place[:2] for place in found.places}
    forgotten = (
        sum(place[:2] not in now for place in old.photos.places())
        if old is not None and old is not index
        else 0
    )
    return Outcome(
        len(index),
        counts["new"],
        counts["moved"],
        forgotten,
        dict(sorted(Counter(work.unread.values()).items())),
        dict(found.skipped),
    )


def _check_found(found: Found, sources: list[str], old: Index | None) -> None:
    if not sources:
        raise usage(
            "nothing to index",
            fix="name a folder of photographs, or an index that was made before (--out)",
        )
    if found.places:
        return
    if old is not None and len(old):
        raise bad_input(
            f"no picture is there, and the index has {len(old)}",
            where=", ".join(sources),
            why="a drive that is not mounted looks like this",
            fix=f"mount it; or delete {old.folder}, if they are gone for good",
        )
    raise bad_input(
        f"no picture is there{', and no whole tar' if found.torn else ''}",
        where=", ".join(sources),
        fix="name a folder with photographs (JPEG, PNG, WebP, HEIC...) or tars",
    )


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One writer at a time; and no index among somebody's other files."""
    if (
        out.is_dir()
        and not (out / NAME).exists()
        and any(path.name not in (FOLDER, ".lock") for path in out.iterdir())
    ):
        raise usage("the folder holds something else", where=str(out), fix="--out a new folder")
    out.mkdir(parents=True, exist_ok=True)
    with open(out / ".lock", "w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # no such locks on Windows
            pass
        except OSError:
            raise usage(
                "another run is indexing into this folder", where=str(out), fix="wait for it"
            ) from None
        try:
            yield
        finally:
            if [path.name for path in out.iterdir()] == [
                ".lock"
            ]:  # nothing came of it: no folder that looks like an index
                shutil.rmtree(out, ignore_errors=True)
