"""Unit vectors in search order: float32 ones to decide with, and smaller ones to choose with.

The search order puts similar rows together. The result does not depend on it, the time does: a row
meets most of its best candidates in its first tiles, so that its threshold is high before the
others come, and the rows that decide its list lie near each other in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hardpairs.core.errors import Exit, UserError, usage
from hardpairs.core.memory import reserve
from hardpairs.core.progress import Progress
from hardpairs.core.ranks import ALONE, Ranks
from hardpairs.core.threads import in_parallel
from hardpairs.data.remote_rows import Rows, is_remote
from hardpairs.data.stacked import leave_to_disk
from hardpairs.mining.by_number import hand_out
from hardpairs.mining.engine.error_bound import NORM_ROUNDING
from hardpairs.mining.low_precision import FLOAT32, KINDS, LARGEST, stored_width
from hardpairs.mining.paging import Paging
from hardpairs.mining.plan import Plan

ROWS_AT_ONCE = 512
"""Rows that are converted together: their float64 copies should fit into a core's cache."""
Range = tuple[int, int]
"""The first row and the one after the last, in search order."""
SMALLEST_NORM = 1e-30
"""A row that is not longer counts as zero."""
ROWS_PER_PIVOT, MOST_PIVOTS = 256, 1024
SAMPLE_PER_PIVOT = 16
"""Rows per pivot that its mean is taken of."""


@dataclass(frozen=True)
class UnitVectors:
    """Unit vectors of one or two modalities.

    Attributes:
        unit: (M, D) float32 each.
        multiplied: What products are made of: the vectors as ``low_precision`` stores them,
            (M, stored width), or ``unit``.
        errors: For each modality, the largest distance of a multiplied row from its unit vector.
    """

    unit: list[np.ndarray]
    multiplied: list[np.ndarray]
    errors: list[float]

    @property
    def rounds(self) -> bool:
        """Tell whether products are made of rounded vectors."""
        return self.multiplied is not self.unit

    @property
    def widths(self) -> list[int]:
        """Return the components of a row, for each modality."""
        return [rows.shape[1] for rows in self.unit]


def make_unit_vectors(
    embeddings: Mapping[str, Rows],
    order: np.ndarray,
    plan: Plan,
    progress: Progress | None,
    ranks: Ranks,
    kept: Sequence[Range] | None = None,
) -> UnitVectors:
    """Return the unit vectors of all rows; several ranks share the work through mapped files.

    With ``kept``, there are addresses for all rows, and the vectors of those rows alone.

    Args:
        embeddings: (N, D) by name of the modality.
        order: (M,) row numbers in search order.
        plan: Says whether the vectors are mapped, and the precision of products.
        progress: Holds the mapped files; needed by a plan with mapped vectors.
        ranks: This process and the others.
        kept: Rows in search order that this process keeps, where the others' travel.

    Raises:
        UserError: Exit 6 for zero or non-finite rows, naming them.
    """
    shapes = {name: (len(order), rows.shape[1]) for name, rows in embeddings.items()}
    unit = _allocate(shapes, np.float32, plan, progress, ranks)
    multiplied = unit
    if plan.precision != FLOAT32:
        kind = KINDS[plan.precision]
        shapes = {
            f"{name}_{plan.precision}": (count, stored_width(width, kind))
            for name, (count, width) in shapes.items()
        }
        multiplied = _allocate(shapes, kind, plan, progress, ranks)
    vectors = UnitVectors(unit, multiplied, [0.0] * len(unit))
    paging = Paging([*unit, *multiplied], plan.resident)
    fill = _fill_by_number if any(map(is_remote, embeddings.values())) else _fill_in_order
    errors = fill(embeddings, order, vectors, paging, ranks, kept)
    ranks.maximum(errors)  # after it all rows are written, too
    return UnitVectors(unit, multiplied, errors.tolist())


def _fill_in_order(
    embeddings: Mapping[str, Rows],
    order: np.ndarray,
    vectors: UnitVectors,
    paging: Paging,
    ranks: Ranks,
    kept: Sequence[Range] | None,
) -> np.ndarray:
    """Write this process's share of the unit vectors from the first to the last.

    The arguments are those of ``make_unit_vectors``. The errors are returned.
    """
    errors = np.zeros(len(vectors.unit))
    parts = [ranks.share(0, len(order))] if kept is None else kept
    for start, stop in [piece for part in parts for piece in paging.pieces(*part)]:
        own = slice(start, stop)
        paging.expect(stop - start)
        for side, (name, rows) in enumerate(embeddings.items()):
            unit, low = vectors.unit[side][own], vectors.multiplied[side][own]
            write_unit_vectors(rows, order[own], name, unit)
            if vectors.rounds:
                errors[side] = max(errors[side], round_vectors(unit, low))
    return errors


def _fill_by_number(
    embeddings: Mapping[str, Rows],
    order: np.ndarray,
    vectors: UnitVectors,
    paging: Paging,
    ranks: Ranks,
    kept: Sequence[Range] | None,
) -> np.ndarray:
    """Do what ``_fill_in_order`` does in the order of the files, which are behind URLs."""
    errors, keeps = np.zeros(len(vectors.unit)), np.full(len(order), kept is None)
    for start, stop in kept or []:
        keeps[start:stop] = True

    def make(at: np.ndarray) -> list[np.ndarray]:
        made = [np.empty((len(at), rows.shape[1]), np.float32) for rows in embeddings.values()]
        for (name, rows), out in zip(embeddings.items(), made, strict=True):
            write_unit_vectors(rows, order[at], name, out)
        return made

    def keep(at: np.ndarray, made: list[np.ndarray]) -> None:
        own = keeps[at]
        paging.expect_scattered(int(own.sum()))
        for side, rows in enumerate(made):
            unit = rows[own]
            vectors.unit[side][at[own]] = unit
            if vectors.rounds:
                multiplied = vectors.multiplied[side]
                low = np.empty((len(unit), multiplied.shape[1]), multiplied.dtype)
                errors[side] = max(errors[side], round_vectors(unit, low))
                multiplied[at[own]] = low

    hand_out(order, vectors.widths, make, keep, ranks, around=kept is not None)
    return errors


def _allocate(
    shapes: dict[str, tuple[int, int]],
    kind: type,
    plan: Plan,
    progress: Progress | None,
    ranks: Ranks,
) -> list[np.ndarray]:
    if plan.visiting:
        return [reserve(shape, kind) for shape in shapes.values()]
    if not plan.mapped:
        # By torch, at whole cache lines: products of numpy's arrays take up to twice as long.
        torch_kind = torch.from_numpy(np.empty(0, kind)).dtype
        return [torch.empty(shape, dtype=torch_kind).numpy() for shape in shapes.values()]
    assert progress is not None
    if ranks.rank == 0:
        for name, shape in shapes.items():
            progress.create_map(name, shape, kind)
    ranks.barrier()
    try:
        return [progress.map(name) for name in shapes]
    except FileNotFoundError as error:
        raise usage(
            f"process {ranks.rank} does not see the unit vectors, which process 0 has in a file",
            where=error.filename,
            fix="give a folder that all machines share, or let each process keep its share of the "
            "rows: `held` ring",
        ) from None


def write_unit_vectors(embeddings: Rows, order: np.ndarray, name: str, out: np.ndarray) -> None:
    """Write ``embeddings[order]`` at unit length, with norms in float64.

    Args:
        embeddings: (N, D) rows of any length.
        order: (M,) row numbers.
        name: Name of the modality, for the message.
        out: (M, D) float32.

    Raises:
        UserError: Exit 6 for zero or non-finite rows, naming them.
    """

    def write(start: int) -> list[int]:
        numbers = order[start : start + ROWS_AT_ONCE]
        rows = np.asarray(embeddings[numbers], dtype=np.float64)
        leave_to_disk(embeddings)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        usable = np.isfinite(norms) & (norms > SMALLEST_NORM)
        out[start : start + ROWS_AT_ONCE] = rows / np.where(usable, norms, 1)
        return [int(number) for number in numbers[~usable[:, 0]]]

    blocks = in_parallel(write, range(0, len(order), ROWS_AT_ONCE))
    unusable = sorted(number for numbers in blocks for number in numbers)
    if unusable:
        raise UserError(
            Exit.NON_FINITE,
            f"{len(unusable)} {name} embeddings are zero or not finite",
            where=f"rows {', '.join(map(str, unusable[:10]))}",
            fix="leave them out with `exclude`",
        )


def round_vectors(unit: np.ndarray, out: np.ndarray) -> float:
    """Write vectors as they are stored and return the largest |rounded vector - vector|.

    Args:
        unit: (M, D) float32.
        out: (M, stored width), its kind of numbers says the precision.
    """

    def write(start: int) -> float:
        rows = torch.from_numpy(unit[start : start + ROWS_AT_ONCE])
        low, distances = ROUNDED[out.dtype.type](rows)
        out[start : start + ROWS_AT_ONCE] = low.numpy()
        return float(distances.max())

    largest = in_parallel(write, range(0, len(unit), ROWS_AT_ONCE))
    return max(largest, default=0.0) * NORM_ROUNDING


def _in_bfloat16(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the bits of rounded rows, (m, D) uint16, and the distance of each from its own."""
    low = rows.to(torch.bfloat16)
    return low.view(torch.uint16), low.float().sub_(rows).norm(dim=1)  # exact differences


def _in_float16(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rounded rows, (m, D) float16, and the distance of each from its own."""
    low = rows.half()
    return low, low.float().sub_(rows).norm(dim=1)  # exact differences


def _in_int8(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return whole numbers and scales, (m, D + 4) int8, and the distance of each from its own."""
    scales = rows.abs().amax(dim=1, keepdim=True) / LARGEST
    low = (rows / scales).round_().clamp_(-LARGEST, LARGEST)
    distances = (low.double() * scales.double()).sub_(rows.double()).norm(dim=1)
    return torch.cat([low.to(torch.int8), scales.view(torch.int8)], dim=1), distances


ROUNDED = {np.uint16: _in_bfloat16, np.float16: _in_float16, np.int8: _in_int8}
"""How rows are rounded, by the kind of numbers that they are stored as."""


def order_by_similarity(
    modalities: Sequence[Rows],
    candidates: np.ndarray,
    others: np.ndarray,
    device: str = "cpu",
    ranks: Ranks = ALONE,
) -> np.ndarray:
    """Return the rows of the candidates, then the others, each sorted by the nearest pivot.

    Pivots are candidates, evenly drawn and moved by one step of k-means on the sum of the
    similarities.

    Args:
        modalities: (N, D) embeddings of one or two modalities, of any length. Rows that are zero or
            not finite stand anywhere.
        candidates: Row numbers of the candidate pool.
        others: Row numbers of the other targets.
        device: Where products are computed.
        ranks: This process and the others.
    """
    count = min(MOST_PIVOTS, len(candidates) // ROWS_PER_PIVOT)
    if count < 2:
        return np.concatenate((candidates, others))
    pivots = _joined(modalities, candidates[_spread(len(candidates), count)], device)
    sample = candidates[_spread(len(candidates), count * SAMPLE_PER_PIVOT)]
    rows = _joined(modalities, sample, device)
    sums = torch.zeros_like(pivots).index_add_(0, (rows @ pivots.T).argmax(dim=1), rows)
    pivots = torch.nn.functional.normalize(sums + 1e-3 * pivots, dim=1)

    def nearest(numbers: np.ndarray) -> np.ndarray:
        return (_joined(modalities, numbers, device) @ pivots.T).argmax(dim=1).cpu().numpy()

    ordered = []
    for numbers in (candidates, others):
        own = numbers[slice(*ranks.share(0, len(numbers)))]
        blocks = np.split(own, range(ROWS_AT_ONCE, len(own), ROWS_AT_ONCE))
        # Each thread that multiplies on an accelerator takes memory there, and keeps it.
        found = in_parallel(nearest, blocks) if device == "cpu" else map(nearest, blocks)
        cells = np.concatenate([*found])
        cells = ranks.of_all(cells, len(numbers))
        ordered.append(numbers[np.argsort(cells, kind="stable")])
    return np.concatenate(ordered)


def _spread(count: int, wanted: int) -> np.ndarray:
    """Return ``wanted`` positions evenly spread over ``count``."""
    return np.linspace(0, count - 1, min(wanted, count)).astype(np.int64)


def _joined(modalities: Sequence[Rows], numbers: np.ndarray, device: str) -> torch.Tensor:
    """Return unit vectors of all modalities side by side, (n, sum of D) float32.

    One product of them adds up the similarities of the modalities.
    """
    rows = [torch.from_numpy(np.asarray(side[numbers], np.float32)) for side in modalities]
    for side in modalities:
        leave_to_disk(side)
    unit = [torch.nn.functional.normalize(side.to(device), dim=1).nan_to_num_() for side in rows]
    return torch.cat(unit, dim=1)
