"""Score listed pairs again by the embeddings of a second model, and choose among them.

The first model proposes pairs, more than are wanted. The filters, ranks and scores of the result
are the second model's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardpairs.core.errors import mismatch, usage
from hardpairs.core.progress import Progress
from hardpairs.data.embeddings import Embeddings
from hardpairs.data.manifest import check_same_dataset
from hardpairs.data.npy_files import ENTRIES_AT_ONCE, row_blocks
from hardpairs.data.remote_rows import Rows
from hardpairs.data.stacked import leave_to_disk
from hardpairs.mining.api import kernel_data
from hardpairs.mining.engine import kernel
from hardpairs.mining.engine.kernel import KEPT, NO_KEY, NOTHING, Data, Decided
from hardpairs.mining.engine.lists import run_loop
from hardpairs.mining.options import MiningOptions
from hardpairs.mining.result import DatasetRows, MiningResult, ResultBuilder
from hardpairs.mining.unit_vectors import write_unit_vectors

PROPOSAL = (
    *("method", "image_weight", "duplicate_threshold", "drop_nonfinite"),
    *("approx", "approx_targets", "candidates", "target_recall", "seed"),
)
"""Options that decide what the first model proposes; all options decide what is chosen."""


@dataclass(frozen=True)
class Rescoring:
    """A second model's embeddings, and how many pairs the first one proposes.

    Attributes:
        embeddings: Embeddings of the same data set.
        candidates: Pairs of each row that are scored again.
    """

    embeddings: Embeddings
    candidates: int

    def proposal(self, options: MiningOptions) -> MiningOptions:
        """Return the options of the first search.

        Raises:
            UserError: Exit 2 for fewer candidates than ranks that must be known.
        """
        if self.candidates < options.depth:
            raise usage(
                f"`rescore_candidates` must be at least {options.depth}, the ranks that are "
                f"listed or skipped, not {self.candidates}"
            )
        kept = {name: getattr(options, name) for name in PROPOSAL}
        return MiningOptions(top_k=self.candidates, **kept)

    def positions(self, embeddings: Embeddings) -> np.ndarray:
        """Return where the rows of the first model's embeddings are among the second one's, (M,).

        Raises:
            UserError: Exit 4 for embeddings of other data, or without some of the rows.
        """
        second = self.embeddings
        if embeddings.fingerprint is not None:
            check_same_dataset(
                embeddings.fingerprint,
                second.fingerprint,
                ours_name="the embeddings",
                theirs_name="those of `rescore`",
            )
        missing = np.setdiff1d(embeddings.rows, second.rows)
        if len(missing) or second.num_samples != embeddings.num_samples:
            raise mismatch(
                "the embeddings to rescore by are of other rows: "
                f"{len(missing)} of {len(embeddings.rows)} are missing",
                where=f"rows {missing[:10].tolist()}" if len(missing) else "`rescore`",
                fix="embed the same data with the second model",
            )
        return np.searchsorted(second.rows, embeddings.rows)


def rescore(
    proposed: MiningResult,
    image: Rows,
    text: Rows,
    at: np.ndarray,
    options: MiningOptions,
    named: DatasetRows,
    progress: Progress | None = None,
) -> MiningResult:
    """Return the hardest of the proposed pairs by other embeddings.

    Args:
        proposed: Lists of N rows.
        image: (M, D_image) embeddings of the second model.
        text: (M, D_text) embeddings of the second model.
        at: (N,) int64, where the N rows are among these.
        options: The filters and ranks of the result.
        named: The N rows in the data set, all of whose rows the result is of.
        progress: Where unit vectors and the result are mapped, so that they need not fit into
            memory.
    """
    builder = ResultBuilder(named, options, progress, "rescored")
    rows = _of_pairs(proposed.indices)
    if not len(rows):
        return builder.result()
    units = _units(image, text, at[rows], options, progress)
    data = kernel_data(units, rows, None, options, options.depth)
    position = np.full(len(proposed.indices) + 1, -1, np.int64)  # the last entry serves the padding
    position[rows] = np.arange(len(rows))
    size = max(1, ENTRIES_AT_ONCE // proposed.indices.shape[1])
    for start in range(0, len(rows), size):
        own = rows[start : start + size]
        listed = position[proposed.indices[own]]
        leave_to_disk(proposed.indices)
        builder.add(_decide(data, start, listed), own, (listed >= 0).sum(axis=1))
    return builder.result()


def _of_pairs(indices: np.ndarray) -> np.ndarray:
    """Return the rows that have pairs, or are in them, ascending.

    Args:
        indices: (N, K) rows, padded with -1.
    """
    is_in_pair = np.zeros(len(indices), bool)
    for start, (block,) in row_blocks(indices):
        is_in_pair[block[block >= 0]] = True
        is_in_pair[start : start + len(block)] |= (block >= 0).any(axis=1)
    return np.flatnonzero(is_in_pair)


def _units(
    image: Rows, text: Rows, rows: np.ndarray, options: MiningOptions, progress: Progress | None
) -> list[np.ndarray]:
    """Return unit vectors of some rows, (R, D) of each modality that the method looks at."""
    sides = {"image": image, "text": text}
    if options.method in sides:
        sides = {options.method: sides[options.method]}
    units = []
    for name, side in sides.items():
        shape = (len(rows), side.shape[1])
        if progress is None:
            units.append(np.empty(shape, np.float32))
        else:
            progress.create_map(f"rescored_{name}", shape, np.float32)
            units.append(progress.map(f"rescored_{name}"))
        write_unit_vectors(side, rows, name, units[-1])
    return units


def _decide(data: Data, first_row: int, listed: np.ndarray) -> Decided:
    """Return the final lists of R rows.

    Args:
        data: What scores are made of.
        first_row: The row of the first list.
        listed: (R, C) int64 rows that are proposed, padded with -1.
    """
    scores = np.zeros(listed.shape, np.float32)
    reasons = np.full(listed.shape, NOTHING, np.int8)
    run_loop(kernel.score_listed, len(listed), 0, data, first_row, listed, scores, reasons)
    keys = np.full(listed.shape, NO_KEY)
    counts = reasons != NOTHING
    numbers = data.row_number[listed[counts]].astype(np.uint64)
    descending = np.uint64(0xFFFFFFFF) - scores[counts].view(np.uint32).astype(np.uint64)
    keys[counts] = descending << np.uint64(32) | numbers
    order = np.argsort(keys, axis=1, kind="stable")
    listed, scores, reasons = (
        np.take_along_axis(array, order, axis=1) for array in (listed, scores, reasons)
    )
    kept = reasons == KEPT
    rank = np.cumsum(kept, axis=1) - 1
    chosen, ahead = kept & (rank < data.depth), rank < data.depth - 1
    result = Decided(
        indices=np.full((len(listed), data.depth), -1, np.int64),
        scores=np.zeros((len(listed), data.depth), np.float32),
        removed=np.stack(
            [((reasons == reason) & ahead).sum(axis=1) for reason in range(kernel.REASONS)], axis=1
        ),
        last_key=np.full(len(listed), NO_KEY),
    )
    where = np.nonzero(chosen)[0], rank[chosen]
    result.indices[where] = data.row_number[listed[chosen]]
    result.scores[where] = scores[chosen]
    result.removed[:, KEPT] = 0
    return result
