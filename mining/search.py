"""Exact hard pairs of N rows: float32 products choose candidates within a proven error bound, a float64 sum in one fixed order decides.

Never holds N x N: rows are taken in blocks. The result does not depend on block size, thread count or machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np
import torch

from formats.errors import Exit, UserError

METHODS = ("HPM", "image", "text")
BLOCK_BYTES = 256 << 20
"""Memory of one block of float32 similarities; a few of these live at once."""


@dataclass(frozen=True)
class _Problem:
    """Unit rows and rules, as the search needs them. One of ``image`` and ``text`` is ``None`` in single-modality modes."""

    image: torch.Tensor | None
    text: torch.Tensor | None
    usable: torch.Tensor  # (N,) bool
    pool: torch.Tensor  # (P,) int64, ascending candidate rows
    groups: torch.Tensor | None  # (N, G)
    top_k: int
    duplicate: float
    floor: float

    @property
    def modalities(self) -> list[torch.Tensor]:
        return [rows for rows in (self.image, self.text) if rows is not None]


def hard_pairs(
    image_embeddings: np.ndarray | torch.Tensor,
    text_embeddings: np.ndarray | torch.Tensor,
    *,
    top_k: int,
    duplicate_threshold: float = 0.98,
    similarity_floor: float = 0.0,
    groups: np.ndarray | None = None,
    exclude: np.ndarray | None = None,
    method: str = "HPM",
    approx: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """The ``top_k`` hardest partners of each row.

    score(i, j) = max(x_i.x_j, 0) * max(y_i.y_j, 0) over unit rows (HELIP, arXiv 2305.05208, Eq. 5; ``method`` "image" or "text" takes
    one factor). Left out: j = i, near duplicates (either similarity above ``duplicate_threshold``; a single-modality method looks at
    its own), rows of the same group, score 0. Order: score as stored (float64 rounded to float32) descending, then j ascending.
    Unlike the published script, two negative similarities never make a positive score, and a row is itself by its number.

    Args:
        image_embeddings, text_embeddings: (N, D_image), (N, D_text), any floating dtype; rows need not be normalised.
        similarity_floor: tau; a factor below it counts as 0.
        groups: (N,) or (N, G) integers; rows that share a value in any column are known positives.
        exclude: row numbers that are neither targets nor candidates.
        approx: size of a seeded random pool of candidate rows (HELIP's fastHPM); default all.

    Returns:
        indices (N, top_k) int64, padded with -1; scores (N, top_k) float32, padded with 0.

    Raises:
        ValueError: shapes or options that make no sense.
        UserError: exit 6 for zero or non-finite rows, naming them.
    """
    _check_arguments(image_embeddings, text_embeddings, top_k, method, duplicate_threshold, similarity_floor)
    count = len(image_embeddings)
    usable = np.ones(count, bool)
    usable[np.asarray([] if exclude is None else exclude, dtype=np.int64)] = False
    candidates = np.flatnonzero(usable)
    if approx is not None and approx < len(candidates):
        candidates = np.sort(np.random.default_rng(seed).choice(candidates, approx, replace=False))
    problem = _Problem(
        image=_unit_rows(image_embeddings, usable, "image", device) if method != "text" else None,
        text=_unit_rows(text_embeddings, usable, "text", device) if method != "image" else None,
        usable=torch.from_numpy(usable).to(device),
        pool=torch.from_numpy(candidates).to(device),
        groups=None if groups is None else torch.from_numpy(np.asarray(groups, np.int64).reshape(count, -1)).to(device),
        top_k=top_k,
        duplicate=duplicate_threshold,
        floor=similarity_floor,
    )
    indices = np.full((count, top_k), -1, np.int64)
    scores = np.zeros((count, top_k), np.float32)
    exact = [rows.cpu().numpy() for rows in problem.modalities]
    for start, stop in _blocks(count, len(candidates)):
        rows, partners = _candidates(problem, start, stop)
        _decide(problem, exact, rows, partners, start, indices[start:stop], scores[start:stop])
    return indices, scores


def _check_arguments(image, text, top_k: int, method: str, duplicate: float, floor: float) -> None:
    if image.ndim != 2 or text.ndim != 2 or len(image) != len(text):
        raise ValueError(f"image and text embeddings must be (N, D) with equal N, not {tuple(image.shape)} and {tuple(text.shape)}")
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, not {method!r}")
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, not {top_k}")
    if not -1 <= floor <= 1 or not duplicate > 0:
        raise ValueError(f"duplicate_threshold must be positive and similarity_floor in [-1, 1], not {duplicate} and {floor}")


def _unit_rows(embeddings: np.ndarray | torch.Tensor, usable: np.ndarray, name: str, device: str) -> torch.Tensor:
    """Float32 unit rows (norms taken in float64); unusable rows become 0."""
    rows = torch.from_numpy(np.array(embeddings, dtype=np.float64))
    norms = rows.norm(dim=1)
    bad = usable & ~(np.isfinite(norms.numpy()) & (norms.numpy() > 1e-30))
    if bad.any():
        listed = ", ".join(map(str, np.flatnonzero(bad)[:10]))
        raise UserError(
            Exit.NON_FINITE, f"{bad.sum()} {name} embeddings are zero or not finite", where=f"rows {listed}", fix="leave them out (exclude)"
        )
    norms[~torch.from_numpy(usable)] = 1
    unit = (rows / norms[:, None]).to(torch.float32)
    unit[~torch.from_numpy(usable)] = 0
    return unit.to(device)


def _blocks(count: int, columns: int) -> Iterator[tuple[int, int]]:
    size = max(1, BLOCK_BYTES // (4 * max(columns, 1)))
    return ((start, min(start + size, count)) for start in range(0, count, size))


def _error_bound(modalities: list[torch.Tensor]) -> float:
    """Bound on |float32 score - exact score|.

    A dot product of D float32 terms in any order is off by at most D u / (1 - D u) * sum |x_k y_k| (Higham, Accuracy and Stability,
    section 3.1), with sum |x_k y_k| <= 1 for unit rows and u = 2^-24; doubled, since norms themselves are rounded. The product of
    two factors in [0, 1] adds both errors, and one rounding. TF32 is never used: torch leaves it off for float32 products.
    """
    unit = 2.0**-24
    return sum(2 * (rows.shape[1] * unit) / (1 - rows.shape[1] * unit) for rows in modalities) + 2 * unit


def _candidates(problem: _Problem, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """All (row, partner) of a block of rows that can be among their exact top K, and few more."""
    margin = _error_bound(problem.modalities)
    allowed = _allowed(problem, start, stop)
    certain = allowed.clone()
    score: torch.Tensor | None = None
    for unit in problem.modalities:
        similarity = unit[start:stop] @ unit[problem.pool].T
        allowed &= (similarity <= problem.duplicate + margin) & (similarity > problem.floor - margin)
        certain &= (similarity <= problem.duplicate - margin) & (similarity >= problem.floor + margin)
        factor = similarity.clamp_(min=0)
        score = factor if score is None else score.mul_(factor)
    assert score is not None
    sure = torch.where(certain & (score > margin), score, torch.zeros((), device=score.device))
    threshold = sure.topk(min(problem.top_k, sure.shape[1]), dim=1).values[:, -1:]  # at least K partners are sure to reach it
    if sure.shape[1] < problem.top_k:
        threshold.zero_()
    rows, columns = torch.nonzero(allowed & (score >= threshold - 2 * margin), as_tuple=True)
    return rows.cpu().numpy() + start, problem.pool[columns].cpu().numpy()


def _allowed(problem: _Problem, start: int, stop: int) -> torch.Tensor:
    """(rows, pool) bool: usable target, not itself, no shared group."""
    rows = torch.arange(start, stop, device=problem.pool.device)
    allowed = (rows[:, None] != problem.pool[None, :]) & problem.usable[start:stop, None]
    if problem.groups is not None:
        for column in problem.groups.T:
            allowed &= column[start:stop, None] != column[problem.pool][None, :]
    return allowed


def _decide(
    problem: _Problem, exact: list[np.ndarray], rows: np.ndarray, partners: np.ndarray, start: int, indices: np.ndarray, scores: np.ndarray
) -> None:
    """Scores candidates in float64 and writes each row's top K into ``indices`` and ``scores`` (views of the block)."""
    score = np.ones(len(rows), np.float64)
    keep = np.ones(len(rows), bool)
    for unit in exact:
        similarity = exact_similarity(unit, rows, partners)
        keep &= similarity <= problem.duplicate
        score *= np.where(similarity < problem.floor, 0.0, np.maximum(similarity, 0.0))
    key = score.astype(np.float32)
    keep &= key > 0
    rows, partners, key = rows[keep], partners[keep], key[keep]
    order = np.lexsort((partners, -key, rows))
    rows, partners, key = rows[order], partners[order], key[order]
    first = np.searchsorted(rows, rows, side="left")
    rank = np.arange(len(rows)) - first
    top = rank < problem.top_k
    indices[rows[top] - start, rank[top]] = partners[top]
    scores[rows[top] - start, rank[top]] = key[top]


@numba.njit(parallel=True, cache=True)
def exact_similarity(unit: np.ndarray, rows: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """Dot products of float32 rows in float64, summed from the first component to the last: (P,) for P pairs.

    Never by BLAS, whose rounding depends on shapes: two equal pairs must get the same bits wherever they stand.
    """
    result = np.empty(len(rows), np.float64)
    for pair in numba.prange(len(rows)):
        total = 0.0
        for k in range(unit.shape[1]):
            total += np.float64(unit[rows[pair], k]) * np.float64(unit[partners[pair], k])
        result[pair] = total
    return result
