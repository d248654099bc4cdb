"""The model of embedding: the encoder's own rate, and the bytes of what is written."""

from __future__ import annotations

from hardpairs.embedding.embed import PART_ROWS
from hardpairs.planning.cost import Cost
from hardpairs.planning.machine import Machine
from hardpairs.planning.mining_cost import NPY_HEADER

BATCH = 256
"""Rows that are embedded at once, the default of ``hardpairs embed``."""


def embeddings_bytes(rows: int, widths: tuple[int, int]) -> int:
    """Return the size of the two arrays of embeddings, without the metadata beside them."""
    return rows * 4 * sum(widths) + 2 * NPY_HEADER


def embedding_cost(
    machine: Machine, rows: int, *, processes: int = 1, image_bytes: int = 0
) -> Cost:
    """Return what embedding costs with the model that the machine was calibrated for.

    Args:
        machine: The constants, with those of a model.
        rows: N pairs.
        processes: Processes that share the work.
        image_bytes: Bytes of an image file; 0 leaves the reading of images out.
    """
    rates = machine.encoder
    assert rates is not None
    widths = rates.image_width, rates.text_width
    arrays = embeddings_bytes(rows, widths)
    images = rows * image_bytes
    own = rows / processes
    stages = {
        "encode": own * rates.embedding,
        "disk": images / processes / machine.read_rate
        + arrays / processes / machine.write_rate
        + arrays / machine.write_rate,
    }
    part = min(rows, PART_ROWS) * 4 * sum(widths)
    batch = int(min(rows, BATCH) * rates.embedding_bytes)
    return Cost(
        work="embed",
        processes=processes,
        stages=stages,
        memory=machine.process_bytes + 4 * rates.parameters + batch + part,
        written=2 * arrays,  # in parts, then joined by the first process
        kept=arrays,
        read=images + arrays,
        network=0,
    )
