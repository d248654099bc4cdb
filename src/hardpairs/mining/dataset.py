"""Mine the hard pairs of a data set from its embeddings."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.errors import Exit, UserError, usage
from hardpairs.core.ranks import Ranks
from hardpairs.data.embeddings import Embeddings
from hardpairs.data.hard_pairs import HardPairTable, table_folder, write_helip, write_table
from hardpairs.data.one_space import check_one_space
from hardpairs.data.remote_rows import Rows, blocks_in_order
from hardpairs.data.stacked import leave_to_disk
from hardpairs.data.url_index import write_url_index
from hardpairs.mining.api import Execution, search
from hardpairs.mining.options import MiningOptions
from hardpairs.mining.rescore import Rescoring, rescore
from hardpairs.mining.result import DatasetRows, MiningResult
from hardpairs.mining.unit_vectors import ROWS_AT_ONCE, SMALLEST_NORM


@dataclass(frozen=True)
class MinedDataset:
    """Hard pairs of a data set.

    Attributes:
        result: Lists of all N rows of the data set. Rows that were left out have empty ones.
        rejected: Reason of each row that was left out.
    """

    result: MiningResult
    rejected: dict[int, str]


def mine_dataset(
    embeddings: Embeddings,
    options: MiningOptions,
    *,
    reject: Mapping[int, str] | None = None,
    rescoring: Rescoring | None = None,
    execution: Execution | None = None,
) -> MinedDataset | None:
    """Return the hard pairs of all rows of a data set.

    Args:
        embeddings: Embeddings with their row numbers.
        options: What decides the hard pairs.
        reject: Rows that neither have nor are hard pairs, with reasons.
        rescoring: A second model's embeddings, which choose among the pairs that these propose.
        execution: How the search runs.

    Returns:
        The hard pairs on rank 0, ``None`` on the others.

    Raises:
        UserError: Exit 6 for non-finite embeddings without ``drop_nonfinite``; exit 2 for options
            that do not go with the embeddings, exit 3 where images and captions are compared and
            the embeddings are of two encoders.
    """
    reject, execution = dict(reject or {}), execution or Execution()
    unusable = _unusable(embeddings, options.drop_nonfinite, execution.ranks)
    dropped = {**unusable, **_positions(embeddings, reject)}
    proposal = options
    if rescoring is not None:
        proposal, second = rescoring.proposal(options), rescoring.embeddings
        at = rescoring.positions(embeddings)
        _check_spaces(second, options)
        unusable = _unusable(second, options.drop_nonfinite, execution.ranks)
        dropped |= {int(i): unusable[int(at[i])] for i in np.flatnonzero(np.isin(at, [*unusable]))}
    _check_spaces(embeddings, proposal)
    rows = DatasetRows(np.asarray(embeddings.rows), embeddings.num_samples)
    result = search(
        embeddings.image,
        embeddings.text,
        proposal,
        groups=embeddings.positives,
        exclude=np.array(sorted(dropped), np.int64),
        rows=rows if rescoring is None else None,
        execution=execution,
    )
    if result is None:
        return None
    if rescoring is not None:
        progress = execution.progress
        chosen = rescore(result, second.image, second.text, at, options, rows, progress)
        result = dataclasses.replace(  # recall is that of what was proposed
            chosen, recall=result.recall, clusters=result.clusters
        )
    if options.noise_rule == "paper":
        result = result.without_noise(options)
    stored = embeddings.manifest.get("rejected", {})
    rejected = {**reject, **{int(row): reason for row, reason in stored.items()}}
    rejected |= {int(embeddings.rows[i]): reason for i, reason in dropped.items()}
    return MinedDataset(result, rejected)


def _check_spaces(embeddings: Embeddings, options: MiningOptions) -> None:
    """Refuse options that compare images with captions where the embeddings do not allow it."""
    if options.needs_one_space and embeddings.manifest.get("one_space") is False:
        raise usage(
            f"{options.compares} images with captions, and these were embedded by separate "
            "encoders",
            fix="embed with a CLIP model",
        )
    try:
        options.check_widths(embeddings.image.shape[1], embeddings.text.shape[1])
    except ValueError as error:
        raise usage(str(error)) from None
    if options.needs_one_space:
        check_one_space(embeddings, str(embeddings.manifest.get("model", "the embeddings")))


def _unusable(embeddings: Embeddings, drop_nonfinite: bool, ranks: Ranks) -> dict[int, str]:
    """Return positions of zero rows and, if allowed, of non-finite ones, with the reason.

    Args:
        embeddings: The embeddings.
        drop_nonfinite: Whether non-finite rows are allowed.
        ranks: This process and the others, which share the work.
    """
    norms = np.stack([_norms(rows, ranks) for rows in (embeddings.image, embeddings.text)])
    nonfinite = np.flatnonzero(~np.isfinite(norms).all(axis=0))
    if len(nonfinite) and not drop_nonfinite:
        raise UserError(
            Exit.NON_FINITE,
            f"{len(nonfinite)} embeddings are not finite",
            where=f"rows {embeddings.rows[nonfinite][:10].tolist()}",
            fix="embed again with other weights, or leave them out with `drop_nonfinite`",
        )
    zero = np.flatnonzero((norms <= SMALLEST_NORM).any(axis=0))
    return {**{int(i): "zero_norm" for i in zero}, **{int(i): "non_finite" for i in nonfinite}}


def _positions(embeddings: Embeddings, reject: Mapping[int, str]) -> dict[int, str]:
    """Return rejected rows by their position among the embeddings, those that have one."""
    positions = np.flatnonzero(np.isin(embeddings.rows, list(reject)))
    return {int(i): reject[int(embeddings.rows[i])] for i in positions}


def _norms(rows: Rows, ranks: Ranks) -> np.ndarray:
    """Return the (M,) float64 norms of embeddings, of which each rank reads its share."""
    first, end = ranks.share(0, len(rows))
    norms = np.zeros(end - first)
    for start in range(first, end, ROWS_AT_ONCE):
        block = slice(start, min(start + ROWS_AT_ONCE, end))
        wide = np.asarray(rows[block], np.float64)
        norms[start - first : block.stop - first] = np.linalg.norm(wide, axis=1)
        leave_to_disk(rows)
    return ranks.of_all(norms, len(rows))


def content_hash(embeddings: Embeddings) -> str:
    """Return the hex sha256 of everything in the embeddings that decides hard pairs.

    Files behind URLs are read from start to end once, and checked on the way.

    Raises:
        UserError: Exit 4 for a damaged file behind a URL.
    """
    digest = hashlib.sha256()
    for array in (embeddings.image, embeddings.text, embeddings.rows, embeddings.positives):
        if array is None:
            continue
        digest.update(f"{array.shape} {array.dtype}".encode())
        for block in blocks_in_order(array, ROWS_AT_ONCE):
            digest.update(np.ascontiguousarray(block).data)
            leave_to_disk(array)
    return digest.hexdigest()


def write_mined(
    out: str | Path,
    name: str,
    mined: MinedDataset,
    embeddings: Embeddings,
    options: MiningOptions,
    rescoring: Rescoring | None = None,
) -> HardPairTable:
    """Write hard pairs in HELIP's formats and as a memory-mapped table.

    Args:
        out: The output folder.
        name: Name of the data set, which names the files.
        mined: The hard pairs.
        embeddings: What they were mined from; their URLs, if there are any, go to ``url_index/``.
        options: What decided the hard pairs.
        rescoring: The second model, which chose among what these proposed.

    Returns:
        The table.
    """
    manifest = {
        "kind": "hard_pairs",
        "dataset": name,
        "dataset_fingerprint": embeddings.fingerprint,
        "embeddings": _described(embeddings),
        "options": options.for_manifest(),
        "counts": mined.result.counts,
        "rejected": {str(row): reason for row, reason in sorted(mined.rejected.items())},
    }
    if mined.result.recall is not None:
        manifest["recall"] = mined.result.recall.for_manifest()
    if mined.result.clusters is not None:
        manifest["clusters"] = mined.result.clusters
    if rescoring is not None:
        by = _described(rescoring.embeddings)
        manifest["rescored"] = {"embeddings": by, "candidates": rescoring.candidates}
    indices, scores = mined.result.indices, mined.result.scores
    table = write_table(table_folder(out, name), indices, scores, manifest)
    write_helip(out, name, table)
    if embeddings.urls is not None and any(url.as_py() for url in embeddings.urls):
        urls = (url.as_py() or "" for url in embeddings.urls)
        write_url_index(out, name, zip(urls, embeddings.rows.tolist(), strict=True))
    return table


def _described(embeddings: Embeddings) -> dict[str, Any]:
    """Return what a table's manifest says of embeddings."""
    described = ("model", "weights", "preprocess", "sha256")
    return {key: embeddings.manifest.get(key) for key in described}
