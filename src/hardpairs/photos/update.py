"""Bring an index up to date with its folders: keep, move, embed and forget photos.

A run that is stopped keeps what it has embedded.
"""

from __future__ import annotations

import contextlib
import itertools
import os
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
from hardpairs.core.errors import UserError, bad_input, usage
from hardpairs.core.lock import locked
from hardpairs.core.progress import Progress
from hardpairs.data.images import HEIC_REASON, can_read_heic
from hardpairs.data.manifest import NAME
from hardpairs.data.shards import expand_shards
from hardpairs.photos.drives import check_kept
from hardpairs.photos.embedding_cache import CachedRow, EmbeddingCache, load_parts, save_part
from hardpairs.photos.index import Index, check_model, is_index_file, write_index
from hardpairs.photos.model import ModelName
from hardpairs.photos.scan import PhotoFile, ScanResult, scan
from hardpairs.photos.table import NO_DIGEST, Row, Table

if TYPE_CHECKING:
    from hardpairs.models.encoders import Encoders

COMMIT_ROWS = 1024
"""Rows between two commits: what a kill can cost."""
UNREADABLE_LIST = "unreadable.txt"
UNFINISHED = "unfinished"
LOCK = ".lock"


@dataclass
class Outcome:
    """Counts of what a run did, in photos.

    Attributes:
        photos: Photos in the index.
        new: Photos that were embedded.
        moved: Photos whose content had an embedding under another path.
        forgotten: Photos of the last index that are no longer listed.
        unreadable: Unreadable files by reason; those of earlier runs count, too.
        passed_over: Names that were skipped, by reason.
    """

    photos: int
    new: int = 0
    moved: int = 0
    forgotten: int = 0
    unreadable: dict[str, int] = field(default_factory=dict)
    passed_over: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The decision for each file of a scan.

    Attributes:
        kept: Files whose embedding is in the cache, and its row there.
        unreadable: Files whose reason still holds.
        to_read: Files to open.
    """

    kept: dict[PhotoFile, CachedRow]
    unreadable: dict[PhotoFile, str]
    to_read: list[PhotoFile]


def make_plan(listed: ScanResult, cache: EmbeddingCache) -> Plan:
    """Return the plan for a scan; a file of unchanged size and time is not opened again."""
    plan = Plan({}, dict(listed.damaged), [])
    for file in listed.files:
        embedded, cached = cache.by_file.get(file.name, (None, None))
        tried, reason = cache.unreadable.get(file.name, (None, ""))
        if embedded == file and cached is not None:
            plan.kept[file] = cached
        elif tried == file and not (reason == HEIC_REASON and can_read_heic()):
            plan.unreadable[file] = reason
        else:
            plan.to_read.append(file)
    return plan


def update_index(
    sources: list[str],
    out: Path,
    *,
    model: str | None = None,
    pretrained: str | None = None,
    device: str = "cpu",
    batch_size: int | None = None,
    workers: int = 2,
    forget: bool = False,
) -> Outcome:
    """Make an index, or bring it up to date: afterwards it holds what ``sources`` hold now.

    Args:
        sources: As in ``hardpairs.photos.scan.scan``; an empty list means those of the last run.
        out: Folder of the index.
        model: OpenCLIP name; by default the index's own, or that of
            ``hardpairs.photos.model.DEFAULT``.
        pretrained: Checkpoint file or OpenCLIP tag; by default as for ``model``.
        device: Device of the model.
        batch_size: Images encoded at once; by default 16 on a CPU, where more are slower, else 64.
        workers: Processes that read and decode.
        forget: Whether the photos of folders that are gone or empty leave the index. Without it
            such a folder is refused: it may be on a drive that is not mounted.

    Raises:
        UserError: exit 2 for wrong paths, exit 3 when the sources, or a folder of photos of the
            index, hold no photo, exit 4 for an index of another model.
        KeyboardInterrupt: After what was embedded so far has been put into the index.
    """
    batch_size = batch_size or (16 if device == "cpu" else 64)
    with _locked(out):
        old = Index.open(out) if (out / NAME).exists() else None
        sources = [os.path.abspath(source) for source in sources] or (
            old.manifest["sources"] if old is not None else []
        )
        name = ModelName.choose(model, pretrained, old)
        if forget:
            sources = [source for source in sources if _is_there(source)]
        listed = scan(sources)
        _check_listed(listed, sources, old)
        if old is not None and not forget:
            check_kept(old, listed, sources)
        encoders = None
        if old is None or not name.surely_made(old):
            encoders = _load(name, device, old)
        description = encoders.description if encoders is not None else old.model  # type: ignore[union-attr]
        cache = EmbeddingCache()
        progress = Progress(out / UNFINISHED, description, kind="embeddings")
        if old is not None:
            cache.add(old.photos, old.embeddings, old.unreadable)
        continued = progress.begin(discard=True)
        load_parts(progress, cache)
        plan, counts, stopped = make_plan(listed, cache), Counter[str](), None
        if (
            old is not None
            and encoders is None
            and not continued
            and _nothing_changed(old, plan, listed, sources)
        ):
            return _outcome(old, plan, listed, counts, old)
        if plan.to_read:
            encoders = encoders or _load(name, device, old)
            pending = _Pending(cache, progress)
            options = {"batch_size": batch_size, "workers": workers}
            try:
                counts = _embed(plan.to_read, listed, pending, encoders, device, **options)
            except KeyboardInterrupt as error:
                stopped = error
            plan = make_plan(listed, cache)
        _commit(out, plan, cache, listed, {**description, **name.facts(), "sources": sources})
        progress.remove()
        if stopped is not None:
            raise stopped
        return _outcome(Index.open(out), plan, listed, counts, old)


def _load(name: ModelName, device: str, old: Index | None) -> Encoders:
    encoders = name.load(device, download=True)
    if old is not None:
        check_model(old, encoders.description)
    return encoders


def _nothing_changed(old: Index, plan: Plan, listed: ScanResult, sources: list[str]) -> bool:
    if (
        plan.to_read
        or len(plan.kept) != len(old)
        or len(plan.unreadable) != len(old.unreadable)
        or old.manifest["sources"] != sources
    ):
        return False
    captions = zip(old.photos.files(), old.photos.notes, strict=True)
    return all(caption == listed.captions.get(file.name, "") for file, caption in captions)


class _Pending:
    """Batches that are not yet in the cache and on disk.

    One batch is added in one step, so that Ctrl-C leaves whole batches.
    """

    def __init__(self, cache: EmbeddingCache, progress: Progress) -> None:
        self.cache, self.progress = cache, progress
        self._batches: list[tuple[list[Row], list[np.ndarray], list[Row]]] = []

    def add(self, rows: list[Row], vectors: list[np.ndarray], unreadable: list[Row]) -> None:
        """Add a batch; ``vectors`` are blocks that together hold one vector per row."""
        self._batches.append((rows, vectors, unreadable))
        if sum(len(rows) + len(failed) for rows, _, failed in self._batches) >= COMMIT_ROWS:
            self.commit()

    def commit(self) -> None:
        if not self._batches:
            return
        rows, blocks, failed = (
            list(itertools.chain.from_iterable(column))
            for column in zip(*self._batches, strict=True)
        )
        table, unreadable = Table.of(rows), Table.of(failed)
        vectors = np.concatenate(blocks) if blocks else np.zeros((0, self.cache.width), np.float32)
        save_part(self.progress, table, vectors, unreadable)
        self.cache.add(table, vectors, unreadable)
        self._batches.clear()  # last: adding a batch twice changes nothing


def _embed(
    files: list[PhotoFile],
    listed: ScanResult,
    pending: _Pending,
    encoders: Encoders,
    device: str,
    *,
    batch_size: int,
    workers: int,
) -> Counter[str]:
    """Embed files into the cache and onto disk; return how many were new and how many moved."""
    from hardpairs.photos.encoding import encode_pixels, load_batches

    cache, counts = pending.cache, Counter[str]()
    digests = frozenset(cache.by_digest) - {NO_DIGEST}
    options = {"batch_size": batch_size, "workers": workers}
    batches = load_batches(files, listed.captions, digests, encoders.image, **options)
    waited, start = 0.0, time.perf_counter()
    bar = tqdm(total=len(files), unit="photo", desc="index", file=sys.stderr, disable=None)
    try:
        with bar:
            while True:
                before = time.perf_counter()
                batch = next(batches, None)
                waited += time.perf_counter() - before
                if batch is None:
                    return counts
                vectors = list(cache.vectors([cache.by_digest[row.digest] for row in batch.cached]))
                if batch.pixels is not None:
                    vectors.insert(0, encode_pixels(encoders, batch.pixels, device))
                pending.add(batch.decoded + batch.cached, vectors, batch.unreadable)
                counts.update(new=len(batch.decoded), moved=len(batch.cached))
                bar.update(len(batch.decoded) + len(batch.cached) + len(batch.unreadable))
                share = waited / (time.perf_counter() - start)
                bar.set_postfix_str(f"waiting for images {share:.0%}", refresh=False)
    finally:
        pending.commit()


def _commit(
    out: Path, plan: Plan, cache: EmbeddingCache, listed: ScanResult, content: dict[str, Any]
) -> None:
    cached = list(plan.kept.values())
    photos = Table.of(
        Row(file, cache.digest(row), listed.captions.get(file.name, ""))
        for file, row in plan.kept.items()
    )
    unreadable = Table.of(Row(file, NO_DIGEST, reason) for file, reason in plan.unreadable.items())
    blocks, shape = cache.vectors(cached), (len(cached), cache.width)
    write_index(out, blocks, shape, photos, unreadable, content)
    lines = [
        f"{reason}\t{file.path}{'/' if file.key else ''}{file.key}\n"
        for file, reason in plan.unreadable.items()
    ]
    write_text(out / UNREADABLE_LIST, "".join(lines).encode("utf-8", "backslashreplace").decode())


def _outcome(
    index: Index, plan: Plan, listed: ScanResult, counts: Counter[str], old: Index | None
) -> Outcome:
    forgotten = 0
    if old is not None and old is not index:
        names = {file.name for file in listed.files}
        forgotten = sum(file.name not in names for file in old.photos.files())
    unreadable = dict(sorted(Counter(plan.unreadable.values()).items()))
    new, moved, skipped = counts["new"], counts["moved"], dict(listed.skipped)
    return Outcome(len(index), new, moved, forgotten, unreadable, skipped)


def _is_there(source: str) -> bool:
    """Return whether a source exists; that of a pattern, whether all its shards do."""
    try:
        return os.path.exists(source) or bool(expand_shards(source))
    except UserError:
        return False


def _check_listed(listed: ScanResult, sources: list[str], old: Index | None) -> None:
    if not sources:
        raise usage(
            "nothing to index",
            fix="name a folder of photos, or an existing index as `out`",
        )
    if listed.files:
        return
    if old is not None and len(old):
        raise bad_input(
            f"the sources hold no photo, and the index holds {len(old)}",
            where=", ".join(sources),
            why="a drive that is not mounted looks like this",
            fix=f"mount it; or delete {old.folder}, if the photos are gone for good",
        )
    raise bad_input(
        f"the sources hold no photo{' and no undamaged tar' if listed.damaged else ''}",
        where=", ".join(sources),
        fix="name a folder with photos (JPEG, PNG, WebP, HEIC...) or tars",
    )


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Admit one writer at a time, and no index among other files.

    What a run left that was killed in its first commit is an index that this one will finish.
    """
    if (
        out.is_dir()
        and not (out / NAME).exists()
        and not all(
            path.name == UNFINISHED or path.name.startswith(LOCK) or is_index_file(path.name)
            for path in out.iterdir()
        )
    ):
        message = "the folder holds something else"
        raise usage(message, where=str(out), fix="choose a new folder as `out`")
    with locked(out / LOCK, "this index of photos"):
        yield
