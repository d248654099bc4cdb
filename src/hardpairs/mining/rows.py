"""Unit rows in search order: float32 to decide with, bfloat16 to choose with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hardpairs.core.errors import Exit, UserError
from hardpairs.core.ranks import Ranks
from hardpairs.core.threads import in_parallel
from hardpairs.mining.bound import ROWS_AT_ONCE, rounded_rows
from hardpairs.mining.plan import Plan
from hardpairs.mining.work import Work


@dataclass(frozen=True)
class UnitRows:
    """Rows of one or two modalities.

    Attributes:
        unit: (M, D) float32 each. multiplied: what products are made of: their bfloat16 bits (M, D) uint16, or ``unit`` itself.
        errors: how far a multiplied row is from the unit row at most, for each modality.
    """

    unit: list[np.ndarray]
    multiplied: list[np.ndarray]
    errors: list[float]


def make_rows(
    sides: tuple[tuple[np.ndarray, str], ...],
    order: np.ndarray,
    plan: Plan,
    work: Work | None,
    ranks: Ranks,
) -> UnitRows:
    """Unit rows of ``embeddings[order]`` for each (embeddings, name); with several ranks each writes its share into files that all map."""
    shapes = {name: (len(order), embeddings.shape[1]) for embeddings, name in sides}
    unit = _allocate(shapes, np.float32, plan, work, ranks)
    low = plan.precision == "bfloat16"
    multiplied = (
        _allocate(
            {f"{name}_bfloat16": shape for name, shape in shapes.items()},
            np.uint16,
            plan,
            work,
            ranks,
        )
        if low
        else unit
    )
    own = slice(*ranks.share(0, len(order)))
    errors = []
    for (embeddings, name), rows, rounded in zip(sides, unit, multiplied, strict=True):
        write_unit_rows(embeddings, order[own], name, rows[own])
        errors.append(rounded_rows(rows[own], rounded[own]) if low else 0.0)
    return UnitRows(unit, multiplied, _largest(errors, work, ranks))


def _allocate(
    shapes: dict[str, tuple[int, int]], dtype: type, plan: Plan, work: Work | None, ranks: Ranks
) -> list[np.ndarray]:
    if not plan.mapped:  # by torch, at whole cache lines: products of numpy's arrays, which start anywhere, take up to twice as long
        return [
            torch.empty(shape, dtype=torch.float32 if dtype is np.float32 else torch.uint16).numpy()
            for shape in shapes.values()
        ]
    assert work is not None
    if ranks.rank == 0:
        for name, shape in shapes.items():
            work.make_map(name, shape, dtype)
    ranks.barrier()
    return [work.map(name) for name in shapes]


def _largest(errors: list[float], work: Work | None, ranks: Ranks) -> list[float]:
    """Of the errors that all ranks found in their shares."""
    if work is None or ranks.world_size == 1:
        return errors
    work.save(f"errors_{ranks.rank}", errors=np.array(errors))
    ranks.barrier()  # all rows are written, too
    stored = [work.load(f"errors_{rank}") for rank in range(ranks.world_size)]
    return np.max([found["errors"] for found in stored if found is not None], axis=0).tolist()


def write_unit_rows(embeddings: np.ndarray, order: np.ndarray, name: str, out: np.ndarray) -> None:
    """Writes ``embeddings[order]`` at unit length (norms in float64) into ``out`` (M, D) float32.

    Raises:
        UserError: exit 6 for zero or non-finite rows, naming them.
    """

    def write(start: int) -> list[int]:
        numbers = order[start : start + ROWS_AT_ONCE]
        rows = np.asarray(embeddings[numbers], dtype=np.float64)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        good = np.isfinite(norms) & (norms > 1e-30)
        out[start : start + ROWS_AT_ONCE] = rows / np.where(good, norms, 1)
        return numbers[~good[:, 0]].tolist()

    bad = [
        number for part in in_parallel(write, range(0, len(order), ROWS_AT_ONCE)) for number in part
    ]
    if bad:
        raise UserError(
            Exit.NON_FINITE,
            f"{len(bad)} {name} embeddings are zero or not finite",
            where=f"rows {', '.join(map(str, sorted(bad)[:10]))}",
            fix="leave them out (exclude)",
        )
