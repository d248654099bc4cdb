"""Links of near-duplicate texts by shared words: CLIPPINGS' baseline for a model to beat."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.atomic import write_csv, write_json
from hardpairs.core.errors import bad_input, usage
from hardpairs.data.samples import Samples
from hardpairs.data.words import Rule, split_words
from hardpairs.linking.cuts import split_by_label
from hardpairs.linking.rows import row_labels
from hardpairs.metrics.clustering import compare_clusters
from hardpairs.metrics.jaccard import between_sources, jaccard_blocks, jaccard_clusters

LOG = logging.getLogger(__name__)

GRID_N = range(1, 6)
GRID_THRESHOLD = tuple(round(0.05 + 0.01 * step, 2) for step in range(16))
"""The values that CLIPPINGS tries."""


@dataclass(frozen=True)
class ChosenWords:
    """The n-grams and the threshold that link texts.

    Attributes:
        n: Number of words of an n-gram.
        threshold: Least Jaccard index of linked texts.
        validation_ari: ARI on the labels that chose.
        rule: What a word is, as in ``split_words``.
    """

    n: int
    threshold: float
    validation_ari: float
    rule: Rule = "unicode"


def link_by_words(
    samples: Samples,
    out: Path,
    *,
    n: int | None = None,
    threshold: float | None = None,
    same_source: str | None = None,
    validation_share: float = 0.4,
    seed: int = 42,
    protocol: str = "parts",
    rule: Rule = "unicode",
) -> dict[str, Any]:
    """Link texts, and write OUT/links.csv, clusters.csv and jaccard.json.

    Args:
        samples: The texts, with labels.
        out: The folder.
        n: Number of words of an n-gram; ``None``: the labels choose ``n`` and ``threshold``.
        threshold: Least Jaccard index of linked texts, in (0, 1].
        same_source: Pattern whose first group names a row's source in its key. Rows of one source
            are not linked.
        validation_share: Fraction of the labels that choose.
        seed: Seed of the split of the labels.
        protocol: How links are compared with labels, one of ``cuts.PROTOCOLS``.
        rule: What a word is, as in ``split_words``.

    Returns:
        What jaccard.json holds.

    Raises:
        UserError: Exit 2 for a wrong argument; exit 3 without labels, or for a key that the
            pattern does not match.
    """
    _check_values(n, threshold)
    texts, source_ids = list(samples.captions), sources_of(samples, same_source)
    labels = row_labels(samples, np.arange(len(samples)))
    validation, test = split_by_label(labels, validation_share, seed)
    if n is None and not (validation >= 0).any():
        raise bad_input(
            "no row has a label to choose `n` and `threshold` by",
            where=samples.source,
            fix="a column of labels, or give both",
        )
    ns, thresholds = (
        (GRID_N, GRID_THRESHOLD) if n is None or threshold is None else ([n], [threshold])
    )
    rows = _part(validation, protocol)
    choice = choose_words(
        [texts[row] for row in rows], validation[rows], source_ids[rows], ns, thresholds, rule
    )
    empty = sum(not split_words(text, rule) for text in texts)
    if empty:
        LOG.warning(f"{empty} of {len(texts)} texts have no word by the rule {rule}.")
    clusters = _clusters(texts, source_ids, choice)
    links = write_csv(
        out / "links.csv",
        ("row", "key", "other_row", "other_key", "jaccard"),
        _links(samples, texts, source_ids, choice),
    )
    record = {
        "n": choice.n,
        "threshold": choice.threshold,
        "protocol": protocol,
        "word_rule": rule,
        "texts_without_words": empty,
        "validation_ari": choice.validation_ari,
        "links": links,
        "test": _part_agreement(texts, test, source_ids, choice, protocol),
        "all": compare_clusters(labels, clusters),
    }
    members = zip(range(len(samples)), samples.names, clusters.tolist(), strict=True)
    write_csv(out / "clusters.csv", ("row", "key", "cluster"), members)
    write_json(out / "jaccard.json", record)
    return record


def _check_values(n: int | None, threshold: float | None) -> None:
    if (n is None) != (threshold is None):
        raise usage(
            "`n` and `threshold` go together", fix="give both, or neither to choose them by label"
        )
    if threshold is not None and not 0 < threshold <= 1:
        raise usage(f"`threshold` must be in (0, 1], not {threshold}")


def _part(labels: np.ndarray, protocol: str) -> np.ndarray:
    """Return the rows that are linked to compare with the labels of a part."""
    inside = np.flatnonzero(labels >= 0)
    return np.arange(len(labels)) if protocol == "joint" or not len(inside) else inside


def _part_agreement(
    texts: Sequence[str],
    labels: np.ndarray,
    source_ids: np.ndarray,
    choice: ChosenWords,
    protocol: str,
) -> dict[str, float]:
    rows = _part(labels, protocol)
    clusters = _clusters([texts[row] for row in rows], source_ids[rows], choice)
    return compare_clusters(labels[rows], clusters)


def _clusters(texts: Sequence[str], source_ids: np.ndarray, choice: ChosenWords) -> np.ndarray:
    thresholds = [choice.threshold]
    return jaccard_clusters(
        texts, n=choice.n, thresholds=thresholds, source_ids=source_ids, rule=choice.rule
    )[0]


def sources_of(samples: Samples, pattern: str | None) -> np.ndarray:
    """Return source ids of the rows; every row is its own source without a pattern.

    Args:
        samples: N rows.
        pattern: Regular expression whose first group names the source in a row's key.

    Returns:
        (N,) int64, equal for rows of one source.

    Raises:
        UserError: Exit 2 for a pattern without a group, exit 3 for a key that it does not match.
    """
    if pattern is None:
        return np.arange(len(samples))
    where = f"`same_source` {pattern}"
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise usage(f"no regular expression: {error}", where=where) from None
    if not expression.groups:
        example = "such as '[^/_]*_([^/]*)$': what follows a file name's first underscore"
        raise usage("the pattern has no group", where=where, fix=example)
    names = []
    for row, key in enumerate(samples.keys):
        match = expression.search(key)
        if match is None:
            raise bad_input("the pattern does not match a key", where=f"row {row}: {key}")
        names.append(match[1])
    return np.unique(names, return_inverse=True)[1]


def choose_words(
    texts: Sequence[str],
    validation: np.ndarray,
    source_ids: np.ndarray,
    ns: Sequence[int],
    thresholds: Sequence[float],
    rule: Rule = "unicode",
) -> ChosenWords:
    """Return the n and the threshold whose clusters agree best with labels.

    Of equally good ones the first are taken.

    Args:
        texts: N texts.
        validation: (N,) int64 labels; negative ones do not count.
        source_ids: (N,) int64; texts of one source are not linked.
        ns: Numbers of words of an n-gram to try.
        thresholds: Least Jaccard indices to try, ascending.
        rule: What a word is, as in ``split_words``.
    """
    tried = (
        ChosenWords(n, threshold, compare_clusters(validation, clusters).get("ari", 0.0), rule)
        for n in ns
        for threshold, clusters in zip(
            thresholds,
            jaccard_clusters(texts, n=n, thresholds=thresholds, source_ids=source_ids, rule=rule),
            strict=True,
        )
    )
    return max(tried, key=lambda choice: choice.validation_ari)


def _links(
    samples: Samples, texts: Sequence[str], source_ids: np.ndarray, choice: ChosenWords
) -> Iterator[tuple[object, ...]]:
    """Yield the linked pairs, a block of texts at a time: they may be far more than the texts."""
    keys = samples.names
    for block in jaccard_blocks(texts, n=choice.n, threshold=choice.threshold, rule=choice.rule):
        pairs, indices = between_sources(*block, source_ids)
        for (i, j), index in zip(pairs.tolist(), indices.tolist(), strict=True):
            yield i, keys[i], j, keys[j], f"{index:.6f}"
