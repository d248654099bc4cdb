"""The constants of one machine, as a calibration has measured them, in a JSON file.

Seconds of computing are processor seconds of one process divided by its threads: what the work
takes where nothing else runs. Rates of disk and network are by the clock.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.atomic import write_json
from hardpairs.core.errors import bad_input, usage

FORMAT = 1
"""Number of the file's format."""
FIRST_COLUMNS = 4096
"""Columns after which a list is not new any more: from there on, each doubling costs the same."""


@dataclass(frozen=True)
class ProductRate:
    """Products of one modality.

    Attributes:
        width: Components of a row.
        block: Rows and columns of a block.
        precision: What the engine chooses for this width.
        seconds: Seconds per pair of rows.
    """

    width: int
    block: int
    precision: str
    seconds: float


@dataclass(frozen=True)
class ListRate:
    """Work on a list besides the scan over all pairs, in seconds.

    Attributes:
        width: Components of both modalities together.
        first: To fill it from its first ``FIRST_COLUMNS`` columns.
        doubling: For each time that the number of columns it was compared with doubles.
        settling: To make the scores of its entries exact.
        deciding: To decide and sort it then.
        handing: To commit it, and to pack it for other processes.
        taking: To add what another process has packed.
    """

    width: int
    first: float
    doubling: float
    settling: float
    deciding: float
    handing: float
    taking: float


@dataclass(frozen=True)
class MiningRates:
    """Constants of mining, in seconds.

    Attributes:
        top_k: Entries of the lists that were measured.
        products: Products, by width and size of block.
        row_scan: Per pair: compare it with the threshold of its row.
        column_scan: Per pair: compare it with the threshold of its column.
        unit: Per component: make unit vectors.
        rounding: Per component: round them to bfloat16.
        ordering: Per component: read rows to find their nearest pivots.
        float_product: Per component of a pair: a float32 product, to find pivots and clusters.
        lists: Work on a list, by width.
        writing: Per entry: write the table and HELIP's files.
        hashing: Per byte: read embeddings and hash them.
        compared: Share of all pairs that ``--candidates ivf`` compared for ``TARGET_RECALL``.
        compared_rows: Rows of that search.
    """

    top_k: int
    products: tuple[ProductRate, ...]
    row_scan: float
    column_scan: float
    unit: float
    rounding: float
    ordering: float
    float_product: float
    lists: tuple[ListRate, ...]
    writing: float
    hashing: float
    compared: float
    compared_rows: int

    def precision(self, width: int) -> str:
        """Return the precision of products of the measured width that is nearest."""
        return min(self.products, key=lambda rate: abs(rate.width - width)).precision

    def product(self, width: int, block: int) -> float:
        """Return the seconds per pair of one modality's products, between the measured ones."""
        sizes = sorted({rate.block for rate in self.products})
        by_size = []
        for size in sizes:
            rates = [rate for rate in self.products if rate.block == size]
            points = [(rate.width, rate.seconds) for rate in rates]
            by_size.append(between(points, width))
        return float(np.interp(np.log(block), np.log(sizes), by_size))

    def list_rate(self, width: int) -> ListRate:
        """Return the work on a list of rows of a width, between the measured ones."""
        parts = {
            name: between([(rate.width, getattr(rate, name)) for rate in self.lists], width)
            for name in ("first", "doubling", "settling", "deciding", "handing", "taking")
        }
        return ListRate(width, **parts)


@dataclass(frozen=True)
class EncoderRates:
    """Constants of one model.

    Attributes:
        model: Its name.
        image_width: Components of an image embedding.
        text_width: Components of a text embedding.
        parameters: Number of its parameters.
        embedding: Seconds to embed one image and its caption.
        training: Seconds of a pair's share of a step, without the loss.
        embedding_bytes: Memory of one pair of a batch that is embedded.
        training_bytes: Memory of one pair of a batch that is trained on.
    """

    model: str
    image_width: int
    text_width: int
    parameters: int
    embedding: float
    training: float
    embedding_bytes: float
    training_bytes: float


@dataclass(frozen=True)
class LossRates:
    """Constants of CLIP's loss, forward and backward, in seconds.

    Attributes:
        pair: Per pair of rows of a batch.
        component: Per component of a pair of rows.
    """

    pair: float
    component: float


@dataclass(frozen=True)
class Machine:
    """The constants of a machine.

    Attributes:
        description: Date, processor, versions.
        threads: Threads of a process.
        free_memory: Bytes that were free.
        process_bytes: Memory of a process that has loaded the program, before it has any data.
        read_rate: Bytes per second that are read from the disk.
        write_rate: Bytes per second that are written to the disk and flushed.
        network_rate: Bytes per second from one process to another.
        mining: Constants of mining.
        loss: Constants of the loss.
        encoder: Constants of a model, if one was named.
    """

    description: dict[str, Any]
    threads: int
    free_memory: int
    process_bytes: int
    read_rate: float
    write_rate: float
    network_rate: float
    mining: MiningRates
    loss: LossRates
    encoder: EncoderRates | None = None

    def save(self, path: Path) -> None:
        """Write the constants as JSON."""
        write_json(path, {"format": FORMAT, **dataclasses.asdict(self)})


def between(points: Sequence[tuple[int, float]], at: float) -> float:
    """Return the line through the two points around ``at``, or through the last two beyond them.

    Args:
        points: (position, value), at least one.
        at: A position.
    """
    points = sorted(points)
    if len(points) == 1:
        return points[0][1]
    end = min(max(1, sum(position < at for position, _ in points)), len(points) - 1)
    (left, low), (right, high) = points[end - 1 : end + 1]
    value = low + (high - low) * (at - left) / (right - left)
    return max(value, 0.0)


def default_path() -> Path:
    """Return where a calibration without ``--out`` is kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "hardpairs" / "machine.json"


def open_machine(path: Path | None) -> Machine:
    """Return the constants of a file, by default those in the user's cache.

    Raises:
        UserError: Exit 2 where there is no file, exit 3 where it is not a calibration.
    """
    file = path or default_path()
    if not file.is_file():
        raise usage(
            "no calibration of this machine" if path is None else "there is no such calibration",
            where=str(file),
            fix=f"measure one, in about two minutes: hardpairs plan --calibrate --out {file}",
        )
    try:
        return machine_of(json.loads(file.read_text()))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise bad_input(
            f"this is no calibration of this version: {error}",
            where=str(file),
            fix=f"measure again: hardpairs plan --calibrate --out {file}",
        ) from None


def machine_of(stored: dict[str, Any]) -> Machine:
    """Return the constants of a calibration's JSON.

    Raises:
        ValueError: They are of another version; so say TypeError, KeyError and AttributeError.
    """
    stored = {**stored, "mining": {**stored["mining"]}}
    if stored.pop("format") != FORMAT:
        raise ValueError("its format is another one")
    mining = stored.pop("mining")
    products = tuple(ProductRate(**rate) for rate in mining.pop("products"))
    lists = tuple(ListRate(**rate) for rate in mining.pop("lists"))
    encoder = stored.pop("encoder")
    return Machine(
        mining=MiningRates(products=products, lists=lists, **mining),
        loss=LossRates(**stored.pop("loss")),
        encoder=None if encoder is None else EncoderRates(**encoder),
        **stored,
    )
