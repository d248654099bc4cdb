"""Embed the samples of a data set, in memory or into a folder that survives a kill."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hardpairs.core import peers
from hardpairs.core.errors import bad_input, mismatch, non_finite
from hardpairs.core.ranks import Ranks
from hardpairs.core.remote import is_url
from hardpairs.core.workers import useful_workers
from hardpairs.data.embeddings import EmbeddedRows, write_streamed
from hardpairs.data.manifest import read_manifest
from hardpairs.data.samples import Samples
from hardpairs.data.unreadable import MAX_BAD_FRACTION, UnreadableImages
from hardpairs.embedding.parts import Parts
from hardpairs.embedding.stream import Clock, Embedded, encode_batches
from hardpairs.models.encoders import Encoders

LATER_FIELDS = ("first_image", "groups")
"""Fields of the manifest that folders of earlier versions lack."""
PART_ROWS = 8192
"""Rows between commits: what a kill can cost, and what is in memory at once."""


def embed(
    samples: Samples,
    encoders: Encoders,
    *,
    batch_size: int = 256,
    workers: int = 2,
    device: str = "cpu",
) -> Embedded:
    """Return the embeddings of every usable row, in memory.

    Args:
        samples: The data set.
        encoders: Both halves.
        batch_size: Rows per batch.
        workers: Processes that load and decode; 0 for this one.
        device: Where the encoders run.

    Returns:
        The embeddings. A row with an unreadable image is in ``rejected`` with its reason.

    Raises:
        UserError: Exit 3 when no row can be embedded; exit 6 for embeddings that are not finite.
    """
    samples.check_usable()
    batches = list(_batches(samples, range(len(samples)), batch_size))
    workers = useful_workers(workers, len(batches))
    stream = encode_batches(samples, encoders, batches, workers=workers, device=device)
    parts = []
    with _progress_bar(sum(map(len, batches))) as bar:
        for part in stream:
            parts.append(part)
            bar.update(len(part.rows) + len(part.rejected))
    rows = Embedded.joined(parts)
    rejected = dict(sorted({**samples.rejected, **rows.rejected}.items()))
    if not len(rows.rows):
        raise _nothing_embedded(samples, rejected)
    _check_finite(rows)
    return Embedded(rows.image, rows.text, rows.rows, rejected)


def embed_to_folder(
    samples: Samples,
    encoders: Encoders,
    out: str | Path,
    *,
    batch_size: int = 256,
    workers: int = 2,
    device: str = "cpu",
    part_rows: int = PART_ROWS,
    max_bad_fraction: float = MAX_BAD_FRACTION,
    ranks: Ranks | None = None,
) -> None:
    """Embed into a folder in clip-retrieval's layout; do nothing when it already holds just this.

    The parts are shared among the ranks. With one number of threads and one batch size, the bytes
    are the same for every number of ranks and workers, and after any kill and restart.

    Args:
        samples: The data set.
        encoders: Both halves.
        out: The folder.
        batch_size: Rows per batch.
        workers: Processes of each rank that load and decode; 0 for the rank itself.
        device: Where the encoders run.
        part_rows: Rows between commits.
        max_bad_fraction: Share of the images that may be unreadable.
        ranks: This process and the others.

    Raises:
        UserError: Exit 3 when too many images cannot be read (finished parts stay); exit 4 when the
            folder holds embeddings of other data, of images elsewhere, with other groups or of
            another model; exit 6 for embeddings that are not finite.
    """
    samples.check_usable()
    out, ranks = Path(out), ranks or Ranks()
    recipe = {
        "kind": "embeddings",
        "dataset_fingerprint": samples.fingerprint,
        "num_samples": len(samples),
        **_first_image(samples),
        "normalised": True,
        "dtype": "float32",
        **encoders.description,
    }
    groups = {"groups": _groups_digest(samples)}  # of the metadata alone: parts hold none
    if _is_done(out, {**recipe, **groups}):
        if ranks.rank == 0:
            Parts(out, recipe, len(samples), part_rows, batch_size).remove()  # killed just before
            print(f"already embedded: {out}", file=sys.stderr)
        return
    parts = Parts(out, recipe, len(samples), part_rows, batch_size)
    ranks.barrier()  # all have looked before one could finish
    if ranks.rank == 0:
        parts.claim()
    ranks.barrier()
    todo = parts.unfinished()
    ranks.barrier()  # nobody adds a part before all have counted them
    unreadable = UnreadableImages(samples, max_bad_fraction)
    for number in sorted({*range(len(parts))} - {*todo}):
        unreadable.add(parts.load(number, "rejected")["rejected"])
    mine = todo[ranks.rank :: ranks.world_size]
    _make_parts(
        samples,
        encoders,
        parts,
        mine,
        unreadable,
        batch_size,
        workers,
        device,
        quiet=ranks.rank > 0,
    )
    ranks.barrier()
    if ranks.rank == 0:
        _join_parts(samples, parts, unreadable, {**recipe, **groups})
    ranks.barrier()


def _first_image(samples: Samples) -> dict[str, str]:
    """Return the path of the first image, for data whose fingerprint does not contain it.

    Such data are a captions.json and a folder of images.
    """
    where = samples.image_path(0) if len(samples) else ""
    if not where or samples.shards[0] or samples.keys[0] == where:
        return {}
    return {"first_image": where if is_url(where) else os.path.abspath(where)}


def _groups_digest(samples: Samples) -> str:
    """Return the hex sha256 of which rows share a group and which an image, whatever their ids."""
    digest = hashlib.sha256()
    for ids in (samples.groups, samples.images):
        _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
        digest.update(
            first[inverse].astype("<i8").tobytes()
        )  # of each row: the first row of its group
    return digest.hexdigest()


def _make_parts(
    samples: Samples,
    encoders: Encoders,
    parts: Parts,
    todo: list[int],
    unreadable: UnreadableImages,
    batch_size: int,
    workers: int,
    device: str,
    *,
    quiet: bool,
) -> None:
    counts = [
        len(parts.rows(number)) - _rejected_in(samples, parts.rows(number)) for number in todo
    ]
    workers = useful_workers(workers, sum(-(-count // batch_size) for count in counts))
    clock, start = Clock(), time.perf_counter()
    batches = (
        batch for number in todo for batch in _batches(samples, parts.rows(number), batch_size)
    )
    encoded = encode_batches(
        samples, encoders, batches, workers=workers, device=device, clock=clock
    )
    with _progress_bar(sum(counts), hidden=quiet) as bar:

        def watched() -> Iterator[Embedded]:
            for rows in encoded:
                bar.set_postfix_str(f"waiting for data {clock.share_waiting:.0%}", refresh=False)
                bar.update(len(rows.rows) + len(rows.rejected))
                yield rows

        stream = watched()
        for number, count in zip(todo, counts, strict=True):
            peers.at(f"at part {number}")
            part = Embedded.joined(list(islice(stream, -(-count // batch_size))))
            _check_finite(part)
            parts.save(number, part)
            unreadable.add(part.rejected)
    if sum(counts) and not quiet:
        speed = sum(counts) / (time.perf_counter() - start)
        print(
            f"{speed:,.0f} pairs/s, {clock.share_waiting:.0%} of the time waiting for data",
            file=sys.stderr,
        )


def _progress_bar(total: int, *, hidden: bool = False) -> tqdm:
    disable = True if hidden else None  # None: shown on a terminal
    return tqdm(total=total, unit="pair", desc="embed", file=sys.stderr, disable=disable)


def _rejected_in(samples: Samples, rows: range) -> int:
    return sum(row in samples.rejected for row in rows)


def _batches(samples: Samples, rows: range, size: int) -> Iterator[list[int]]:
    """Yield the usable ones of some rows, ``size`` at a time."""
    usable = (row for row in rows if row not in samples.rejected)
    while batch := list(islice(usable, size)):
        yield batch


def _check_finite(part: Embedded) -> None:
    bad = ~(np.isfinite(part.image).all(axis=1) & np.isfinite(part.text).all(axis=1))
    if bad.any():
        raise non_finite(
            f"{bad.sum()} embeddings are not finite",
            where=f"rows {part.rows[bad][:10].tolist()}",
            fix="use other weights",
        )


def _join_parts(
    samples: Samples, parts: Parts, unreadable: UnreadableImages, recipe: dict[str, Any]
) -> None:
    """Write the folder's files from its parts, then remove the parts."""
    missing = parts.unfinished()
    if missing:  # some file systems show a file late
        raise mismatch(
            f"{len(missing)} parts are not there",
            where=str(parts.progress.folder),
            fix="start the same command again",
        )
    widths, kept, rejected = _counted(samples, parts)
    unreadable.add({row: reason for row, reason in rejected.items() if row not in samples.rejected})
    if not kept:
        raise _nothing_embedded(samples, rejected)
    write_streamed(
        parts.out,
        (
            _with_texts(samples, part)
            for part in parts.loaded("image", "text", "rows")
            if len(part["rows"])
        ),
        shapes=((kept, widths[0]), (kept, widths[1])),
        dtype=np.dtype(np.float32),
        manifest={
            **recipe,
            "kept": kept,
            "rejected": {str(row): reason for row, reason in sorted(rejected.items())},
        },
    )
    parts.remove()
    reasons = dict(sorted(Counter(rejected.values()).items()))
    print(
        f"{len(samples)} pairs = {kept} embedded + {len(rejected)} rejected {reasons}",
        file=sys.stderr,
    )


def _counted(samples: Samples, parts: Parts) -> tuple[tuple[int, int], int, dict[int, str]]:
    """Return widths of image and text embeddings, kept rows, and reasons of the others."""
    rejected, kept, widths = dict(samples.rejected), 0, (0, 0)
    for number in range(len(parts)):
        part = parts.load(number, "rows", "rejected")
        rejected.update(part["rejected"])
        if len(part["rows"]) and not kept:
            widths = tuple(parts.load(number, name)[name].shape[1] for name in ("image", "text"))
        kept += len(part["rows"])
    return widths, kept, rejected


def _with_texts(samples: Samples, part: dict[str, np.ndarray]) -> EmbeddedRows:
    rows = part["rows"].tolist()
    return EmbeddedRows(
        part["image"],
        part["text"],
        part["rows"],
        [samples.caption(row) for row in rows],
        [samples.names[row] for row in rows],
        samples.groups[part["rows"]],
        samples.images[part["rows"]],
        [samples.urls[row] for row in rows],
    )


def _nothing_embedded(samples: Samples, rejected: dict[int, str]) -> Exception:
    return bad_input(
        "no pair could be embedded",
        where=samples.source,
        why=f"rejected: {dict(Counter(rejected.values()))}",
    )


def _is_done(out: Path, recipe: dict[str, Any]) -> bool:
    if not (out / "manifest.json").is_file():
        return False
    stored = read_manifest(out)
    differing = [
        key
        for key, value in recipe.items()
        if stored.get(key) != value and not (key in LATER_FIELDS and key not in stored)
    ]
    if differing:
        verb = "differs" if len(differing) == 1 else "differ"
        raise mismatch(
            f"the folder holds other embeddings: {', '.join(differing)} {verb}",
            where=str(out),
            fix="choose another output folder, or delete this one",
        )
    return True
