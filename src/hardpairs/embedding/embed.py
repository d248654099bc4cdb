"""Embed the samples of a data set, in memory or into a folder that survives a kill.

Any number of processes may embed into one folder, or one place of an object store. Each takes parts
by lease until all are made; one of them joins the parts, and the others wait for the manifest.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm
from upath import UPath

from hardpairs.core.errors import UserError, mismatch
from hardpairs.core.lease import LEASE_SECONDS, Leases, looks
from hardpairs.core.remote import FilePath, is_url
from hardpairs.core.remote_writing import output_folder
from hardpairs.core.shared_files import exists
from hardpairs.core.workers import useful_workers
from hardpairs.data.manifest import read_manifest
from hardpairs.data.samples import Samples
from hardpairs.data.unreadable import MAX_BAD_FRACTION, UnreadableImages
from hardpairs.embedding.joining import join_parts
from hardpairs.embedding.making import make_parts
from hardpairs.embedding.parts import Parts
from hardpairs.embedding.stream import (
    Embedded,
    check_finite,
    encode_batches,
    nothing_embedded,
    usable_batches,
)
from hardpairs.models.encoders import Encoders

LATER_FIELDS = ("first_image", "groups")
"""Fields of the manifest that folders of earlier versions lack."""
PART_ROWS = 8192
"""Rows between commits: what a kill can cost, and what is in memory at once."""
JOIN = "join"
"""Name of the lease on joining the parts."""
TOLD_AT = 6
"""The look at which a process tells what it waits for: it has waited for over a second."""


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
    batches = list(usable_batches(range(len(samples)), samples.rejected, batch_size))
    workers = useful_workers(workers, len(batches))
    stream = encode_batches(samples, encoders, batches, workers=workers, device=device)
    parts = []
    total = sum(map(len, batches))
    with tqdm(total=total, unit="pair", desc="embed", file=sys.stderr, disable=None) as bar:
        for part in stream:
            parts.append(part)
            bar.update(part.count)
    rows = Embedded.joined(parts)
    rejected = dict(sorted({**samples.rejected, **rows.rejected}.items()))
    if not len(rows.rows):
        raise nothing_embedded(samples, rejected)
    check_finite(rows)
    return Embedded(rows.image, rows.text, rows.rows, rejected)


def embed_to_folder(
    samples: Samples,
    encoders: Encoders,
    out: str | Path | UPath,
    *,
    batch_size: int = 256,
    workers: int = 2,
    device: str = "cpu",
    part_rows: int = PART_ROWS,
    max_bad_fraction: float = MAX_BAD_FRACTION,
    lease_seconds: float = LEASE_SECONDS,
    quiet: bool = False,
) -> None:
    """Embed into a folder in clip-retrieval's layout; do nothing when it already holds just this.

    Processes that are given the same folder share the work, whenever they come, and each returns
    when all is done. With one number of threads and one batch size, the bytes are the same for
    every number of processes and workers, and after any kill and restart.

    Args:
        samples: The data set.
        encoders: Both halves.
        out: The folder, or its URL in an object store.
        batch_size: Rows per batch.
        workers: Processes that load and decode for this one; 0 for none.
        device: Where the encoders run.
        part_rows: Rows between commits, and of what a process takes at once.
        max_bad_fraction: Share of the images that may be unreadable.
        lease_seconds: Seconds after which a part of a process that is silent is made by another.
        quiet: Show no progress and no speed.

    Raises:
        UserError: Exit 2 for a URL that cannot be written to; exit 3 when too many images cannot be
            read (finished parts stay), or a server takes no files; exit 4 when the folder holds
            embeddings of other data, of images elsewhere, with other groups or of another model;
            exit 6 for embeddings that are not finite.
    """
    samples.check_usable()
    out, recipe = output_folder(out), _recipe(samples, encoders)
    manifest = {**recipe, "groups": _groups_digest(samples)}  # of the metadata: parts hold none
    parts = Parts(out, recipe, len(samples), part_rows, batch_size)
    unreadable = UnreadableImages(samples, max_bad_fraction)
    make = partial(make_parts, samples, encoders, parts, unreadable=unreadable)
    make = partial(make, workers=workers, device=device, quiet=quiet)
    join = partial(join_parts, samples, parts, unreadable, manifest)
    is_done = partial(_is_done, out, manifest)
    if is_done():
        parts.sweep()  # one process may have been killed, and another have finished its work
        print(f"already embedded: {out}", file=sys.stderr)
    else:
        try:
            parts.claim()
            for number in parts.made():
                unreadable.add(parts.load(number, "rejected")["rejected"])
            with Leases(parts.folder, lease_seconds) as leases:
                _share(parts, leases, make, join, is_done)
        except (UserError, FileNotFoundError):  # another process has joined the parts, and removed
            if not is_done():
                raise
    parts.remove()


def _share(
    parts: Parts,
    leases: Leases,
    make: Callable[[Leases], None],
    join: Callable[[], None],
    is_done: Callable[[], bool],
) -> None:
    """Make and join what no other process does, until all is done."""
    for look in looks():
        if is_done():
            return
        make(leases)
        if not parts.unfinished() and leases.take(JOIN):
            if not is_done():
                join()
            return
        if look == TOLD_AT:
            print(f"waiting for {_awaited(parts, leases)}", file=sys.stderr)


def _awaited(parts: Parts, leases: Leases) -> str:
    """Return what others do, and who does the first of it."""
    todo = parts.unfinished()
    if not todo:
        return f"{leases.holder(JOIN)}, which joins the parts"
    holder = leases.holder(parts.name(todo[0]))
    return f"{len(todo)} parts of other processes, the first of {holder}"


def _recipe(samples: Samples, encoders: Encoders) -> dict[str, Any]:
    """Return what the embeddings follow from, as JSON values."""
    return {
        "kind": "embeddings",
        "dataset_fingerprint": samples.fingerprint,
        "num_samples": len(samples),
        **_first_image(samples),
        "normalised": True,
        "dtype": "float32",
        **encoders.description,
    }


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


def _is_done(out: FilePath, recipe: dict[str, Any]) -> bool:
    if not exists(out / "manifest.json"):
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
