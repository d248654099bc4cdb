"""Mine the hard pairs of a data set: from embeddings with row numbers to a table of all its rows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

import numpy as np

from hardpairs.core.errors import Exit, UserError, usage
from hardpairs.core.ranks import Ranks
from hardpairs.data.embeddings import Embeddings
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.mining.bound import ROWS_AT_ONCE
from hardpairs.mining.filters import Filters
from hardpairs.mining.search import Found, search
from hardpairs.mining.work import Work


@dataclass(frozen=True)
class Options(Filters):
    """What decides a table, beside the embeddings (``hardpairs.mining.filters``, ``hardpairs.mining.search`` for the meaning)."""

    topk: int = 50
    mining_method: str = "HPM"
    noise_rule: str = "none"
    approx: int | None = None
    seed: int = 0
    drop_nonfinite: bool = False

    @property
    def filters(self) -> Filters:
        return Filters(**{field.name: getattr(self, field.name) for field in fields(Filters)})


@dataclass(frozen=True)
class Mined:
    """A table of all N dataset rows and how it came about.

    Attributes:
        indices: (N, K) int64; scores: (N, K) float32; rows without embeddings, zero and dropped ones have empty lists.
        rejected: reason of each row that was left out.
        kept, removed: listed pairs, and what each filter removed on the way to them; their sum is the number of candidates.
    """

    indices: np.ndarray
    scores: np.ndarray
    rejected: dict[int, str]
    kept: int
    removed: dict[str, int]

    @property
    def counts(self) -> dict[str, int | dict[str, int]]:
        return {
            "candidates": self.kept + sum(self.removed.values()),
            "kept": self.kept,
            "removed": self.removed,
        }


def mine(
    embeddings: Embeddings,
    options: Options,
    *,
    device: str = "cpu",
    max_memory: int | None = None,
    work: Work | None = None,
    ranks: Ranks | None = None,
    verbose: bool = False,
    reject: dict[int, str] | None = None,
) -> Mined | None:
    """Hard pairs of all N dataset rows; on ranks other than 0, ``None``. Rows of ``reject`` (with reasons) have and are in no list.

    Raises:
        UserError: exit 6 for non-finite embeddings without ``drop_nonfinite``; exit 2 for options that do not go with the embeddings.
    """
    dropped = {
        **_unusable(embeddings, options.drop_nonfinite),
        **_positions(embeddings, reject or {}),
    }
    try:
        options.filters.check(
            options.mining_method, (embeddings.image.shape[1], embeddings.text.shape[1])
        )
    except ValueError as error:
        raise usage(str(error)) from None
    if options.filters.has_margin and embeddings.manifest.get("one_space") is False:
        raise usage(
            "a margin compares images with captions, and these were embedded by separate encoders",
            fix="embed with a CLIP model",
        )
    found = search(
        embeddings.image,
        embeddings.text,
        top_k=options.topk,
        filters=options.filters,
        groups=embeddings.positives,
        exclude=np.array(sorted(dropped), np.int64),
        method=options.mining_method,
        approx=options.approx,
        seed=options.seed,
        device=device,
        max_memory=max_memory,
        work=work,
        ranks=ranks,
        verbose=verbose,
    )
    if found is None:
        return None
    rejected = {int(row): reason for row, reason in embeddings.manifest.get("rejected", {}).items()}
    rejected.update({int(embeddings.rows[i]): reason for i, reason in dropped.items()})
    rejected = {**(reject or {}), **rejected}
    return _of_dataset(embeddings, found, options, rejected)


def _of_dataset(
    embeddings: Embeddings, found: Found, options: Options, rejected: dict[int, str]
) -> Mined:
    """From rows of the embeddings to rows of the dataset; lists that the noise rule takes away become empty."""
    kept, removed = found.kept, dict(found.removed)
    if (
        options.noise_rule == "paper"
    ):  # HELIP section 3.2: a target with a zero score among its top K is an outlier
        places = (
            options.topk
            if options.range_max is None
            else min(options.topk, options.range_max - options.range_min)
        )
        noise = found.indices[:, places - 1] < 0
        removed["noise_rule"] = int((found.indices[noise] >= 0).sum())
        kept -= removed["noise_rule"]
        found.indices[noise], found.scores[noise] = -1, 0
    return Mined(
        *found.of_dataset(embeddings.rows, embeddings.num_samples), rejected, kept, removed
    )


def _unusable(embeddings: Embeddings, drop_nonfinite: bool) -> dict[int, str]:
    """Positions of zero rows and, if allowed, non-finite ones, with the reason."""
    norms = np.stack([_norms(rows) for rows in (embeddings.image, embeddings.text)])
    nonfinite = np.flatnonzero(~np.isfinite(norms).all(axis=0))
    if len(nonfinite) and not drop_nonfinite:
        raise UserError(
            Exit.NON_FINITE,
            f"{len(nonfinite)} embeddings are not finite",
            where=f"rows {embeddings.rows[nonfinite][:10].tolist()}",
            fix="embed again with other weights, or leave them out with --drop-nonfinite",
        )
    zero = np.flatnonzero((norms <= 1e-30).any(axis=0))
    return {**{int(i): "zero_norm" for i in zero}, **{int(i): "non_finite" for i in nonfinite}}


def _positions(embeddings: Embeddings, reject: dict[int, str]) -> dict[int, str]:
    """Rejected rows by their position among the embeddings, those that have one."""
    return {
        int(i): reject[int(embeddings.rows[i])]
        for i in np.flatnonzero(np.isin(embeddings.rows, list(reject)))
    }


def _norms(rows: np.ndarray) -> np.ndarray:
    parts = [
        np.linalg.norm(np.asarray(rows[start : start + ROWS_AT_ONCE], np.float64), axis=1)
        for start in range(0, len(rows), ROWS_AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def content_hash(embeddings: Embeddings) -> str:
    """Hex sha256 of everything in the embeddings that decides a table."""
    digest = hashlib.sha256()
    for array in (embeddings.image, embeddings.text, embeddings.rows, embeddings.positives):
        if array is None:
            continue
        digest.update(f"{array.shape} {array.dtype}".encode())
        for start in range(0, len(array), ROWS_AT_ONCE):
            digest.update(np.ascontiguousarray(array[start : start + ROWS_AT_ONCE]))
    return digest.hexdigest()


def statistics(table: HardPairTable) -> dict[str, float]:
    """Numbers that tell a good table from a bad one: list lengths, scores, and how often the most popular row is listed."""
    lengths = np.asarray(table.lengths)
    real = np.asarray(table.indices)[np.asarray(table.indices) >= 0]
    top = np.asarray(table.scores)[:, 0][lengths > 0]
    return {
        "rows": len(lengths),
        "rows_with_pairs": int((lengths > 0).sum()),
        "pairs_per_row": float(lengths.mean()),
        "hardest_score_median": float(np.median(top)) if len(top) else 0.0,
        "most_listed": int(np.bincount(real).max()) if len(real) else 0,
    }
