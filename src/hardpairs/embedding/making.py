"""Make the parts of an embedding run that no other process makes: each is taken by lease."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain

from tqdm import tqdm

from hardpairs.core import peers
from hardpairs.core.lease import Leases
from hardpairs.core.workers import useful_workers
from hardpairs.data.samples import Samples
from hardpairs.data.unreadable import UnreadableImages
from hardpairs.embedding.parts import Parts
from hardpairs.embedding.stream import Clock, Embedded, check_finite, encode_batches
from hardpairs.models.encoders import Encoders

SHOWN_AFTER = 1.0
"""Seconds without a progress bar: a process that finds nothing to do shows none."""


def make_parts(
    samples: Samples,
    encoders: Encoders,
    parts: Parts,
    leases: Leases,
    *,
    unreadable: UnreadableImages,
    workers: int,
    device: str,
    quiet: bool,
) -> None:
    """Make the parts that are not made, and that no other process makes now.

    Args:
        samples: The data set.
        encoders: Both halves.
        parts: Where the parts are kept.
        leases: Of this process.
        unreadable: Counts the images that cannot be read.
        workers: Processes that load and decode; 0 for this one.
        device: Where the encoders run.
        quiet: Show no progress and no speed.

    Raises:
        UserError: Exit 3 when too many images cannot be read; exit 4 when another run has taken the
            folder; exit 6 for embeddings that are not finite.
    """
    todo = parts.unfinished()
    most = sum(-(-len(parts.rows(number)) // parts.batch_size) for number in todo)
    workers = useful_workers(workers, most)
    clock, start, pairs = Clock(), time.perf_counter(), 0
    with _progress_bar(parts, todo, hidden=quiet) as bar:
        numbers = _taken(parts, todo, leases, bar)
        first = next(numbers, None)
        if first is None:  # no loader is started in vain
            return

        def encode(batches: Iterable[list[int]]) -> Iterator[Embedded]:
            for rows in encode_batches(
                samples, encoders, batches, workers=workers, device=device, clock=clock
            ):
                bar.set_postfix_str(f"waiting for data {clock.share_waiting:.0%}", refresh=False)
                bar.update(rows.count)
                yield rows

        for number, part in by_part(parts, chain([first], numbers), samples.rejected, encode):
            peers.at(f"at part {number}")
            check_finite(part)
            parts.save(number, part)
            leases.release(parts.name(number))
            unreadable.add(part.rejected)
            bar.update(len(parts.rows(number)) - part.count)
            pairs += part.count
    if pairs and not quiet:
        speed = pairs / (time.perf_counter() - start)
        waiting = f"{clock.share_waiting:.0%} of the time waiting for data"
        print(f"{speed:,.0f} pairs/s, {waiting}", file=sys.stderr)


def by_part(
    parts: Parts,
    numbers: Iterable[int],
    rejected: Collection[int],
    encode: Callable[[Iterable[list[int]]], Iterator[Embedded]],
) -> Iterator[tuple[int, Embedded]]:
    """Yield each part with its number, out of one stream of batches.

    One stream means that the next part is loaded while this one is encoded. So the next number is
    asked for when batches of it are, before this part is yielded.

    Args:
        parts: They know their batches.
        numbers: Numbers of parts.
        rejected: Rows that are left out.
        encode: Returns the embeddings of each batch, in order.
    """
    begun: deque[tuple[int, int]] = deque()  # number and batches

    def batches() -> Iterator[list[int]]:
        for number in numbers:
            of_part = parts.batches(number, rejected)
            begun.append((number, len(of_part)))
            yield from of_part

    done: list[Embedded] = []

    def whole() -> Iterator[tuple[int, Embedded]]:
        while begun and len(done) == begun[0][1]:
            part = Embedded.joined(done)
            done.clear()
            yield begun.popleft()[0], part

    for rows in encode(batches()):
        yield from whole()  # parts without usable rows, before those of this batch
        done.append(rows)
        yield from whole()
    yield from whole()


def _taken(parts: Parts, todo: Iterable[int], leases: Leases, bar: tqdm) -> Iterator[int]:
    """Yield the numbers of the parts that this process can take, and take each when it is asked."""
    for number in todo:
        if not parts.is_made(number) and leases.take(parts.name(number)):
            if not parts.is_made(number):
                yield number
                continue
            leases.release(parts.name(number))  # its maker has just released it
        bar.total -= len(parts.rows(number))


def _progress_bar(parts: Parts, todo: Iterable[int], *, hidden: bool) -> tqdm:
    total = sum(len(parts.rows(number)) for number in todo)
    disable = True if hidden else None  # None: shown on a terminal
    return tqdm(
        total=total,
        unit="pair",
        desc="embed",
        file=sys.stderr,
        disable=disable,
        delay=SHOWN_AFTER,
    )
