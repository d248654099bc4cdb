"""Facts that tell, before any training, what a model can still learn from its pairs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import gammaln

from hardpairs.core.vectors import unit_rows
from hardpairs.data.embeddings import Embeddings
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.metrics.groups import groups_of_rows
from hardpairs.metrics.retrieval import rank_positives

QUERIES = 2000
"""Rows that are asked for; all rows answer."""
NEAREST = 10
"""Hard pairs of a row that are looked at, and hardest negatives of a batch."""
LOOK_ALIKE = 0.95
"""Cosine of two images or two captions above which a hard pair is likely a false negative."""
UNFINISHED_SHARE = 0.75
"""Part of a run after which a best epoch says that validation was still rising."""


@dataclass(frozen=True)
class Readiness:
    """Facts that are known before training. Shares are fractions.

    Attributes:
        num_pairs: N, pairs with an embedding.
        batch_size: B, rows of a global batch.
        solved_in_batch: Share of pairs whose own caption beats those of a random batch, expected;
            mean of both directions. ``None`` where images and captions are not in one space.
        solved: Share whose own caption beats all others' captions; likewise.
        meets_hardest: Chance that a random batch holds one of a pair's ten hardest negatives.
        look_alikes: Share of the first ten hard pairs whose images or captions are nearly equal.
            ``None`` without hard pairs.
        still_rising: Whether validation was best near the end of the run. ``None`` without a run.
    """

    num_pairs: int
    batch_size: int
    solved_in_batch: float | None
    solved: float | None
    meets_hardest: float
    look_alikes: float | None
    still_rising: bool | None

    def advice(self) -> str:
        """Return one line of advice, by the first fact that speaks for something."""
        if self.still_rising:
            return "Train the base longer first: its validation was still rising."
        if self.look_alikes is not None and self.look_alikes > 0.3:
            return (
                "Lower --duplicate-threshold and mine again: many hard pairs are nearly equal, and "
                "likely right."
            )
        if self.solved is not None and self.solved > 0.9:
            return "The model solves nearly all of these pairs: more data would help, not training."
        if self.batch_size < self.num_pairs / 8:
            return (
                "Raise the batch before anything else; where memory does not allow it, compare the "
                "recipes: hardpairs compare recipes."
            )
        return "Compare the recipes on your pairs: hardpairs compare recipes."


def readiness(
    embeddings: Embeddings,
    batch_size: int,
    *,
    table: HardPairTable | None = None,
    run: Path | None = None,
    metric: str = "mean_R@1",
    seed: int = 0,
    most_rows: int | None = None,
) -> Readiness:
    """Measure what a model can still learn from its pairs.

    Args:
        embeddings: Embeddings of the pairs by the model.
        batch_size: Rows of a global batch.
        table: Their hard pairs.
        run: Folder of the run that made the model.
        metric: Metric of the run's validation data.
        seed: Seed of the rows that are asked for.
        most_rows: Random rows that are looked at; ``None``: all, and the hard pairs of ``QUERIES``.
    """
    solved_in_batch = solved = None
    count = len(embeddings.rows)
    among = _some_rows(count, seed, most_rows or count)
    targets = _some_rows(count, seed, min(QUERIES, most_rows or QUERIES))
    if embeddings.one_space and len(among) > 1:
        above = _negatives_above(embeddings, among, seed)
        solved = float((above == 0).mean()) if len(among) == count else None
        drawn = min(batch_size, len(among)) - 1
        # Of a random part, too, this is the expected share.
        solved_in_batch = float(chance_of_no_harder(above, len(among) - 1, drawn).mean())
    return Readiness(
        count,
        batch_size,
        solved_in_batch,
        solved,
        _meets_hardest(count, batch_size),
        None if table is None else _look_alikes(embeddings, table, targets),
        None if run is None else _still_rising(run, metric),
    )


def readiness_of_table(num_pairs: int, batch_size: int, table: HardPairTable) -> Readiness:
    """Return what is known without embeddings: a pair of a high score looks and reads alike.

    Args:
        num_pairs: N, usable pairs.
        batch_size: Rows of a global batch.
        table: Their hard pairs.
    """
    targets = _some_rows(len(table.lengths), 0)
    scores = np.asarray(table.scores)[targets, :NEAREST]
    listed = np.arange(scores.shape[1]) < np.asarray(table.lengths)[targets, None]
    alike = float((scores[listed] > LOOK_ALIKE**2).mean()) if listed.any() else None
    return Readiness(
        num_pairs, batch_size, None, None, _meets_hardest(num_pairs, batch_size), alike, None
    )


def _meets_hardest(count: int, batch_size: int) -> float:
    """Return the chance that a random batch holds one of a pair's ten hardest negatives."""
    nearest = np.array([min(NEAREST, count - 1)])
    return float(1 - chance_of_no_harder(nearest, count - 1, min(batch_size, count) - 1)[0])


def chance_of_no_harder(above: np.ndarray, negatives: int, drawn: int) -> np.ndarray:
    """Return the chance that random negatives hold none of some.

    Args:
        above: (Q,) numbers of negatives that would win.
        negatives: Number of all negatives.
        drawn: Number of negatives drawn, without repetition.

    Returns:
        (Q,) float64: C(negatives - above, drawn) / C(negatives, drawn).

    Example:
        >>> chance_of_no_harder(np.array([0, 1, 9]), 10, 5).round(3).tolist()
        [1.0, 0.5, 0.0]
    """
    rest = negatives - np.asarray(above, np.float64)
    possible = rest >= drawn
    left = np.where(possible, rest, drawn)
    logs = gammaln(left + 1) - gammaln(left - drawn + 1)
    logs -= gammaln(negatives + 1) - gammaln(negatives - drawn + 1)
    return np.where(possible, np.exp(logs), 0.0)


def _negatives_above(embeddings: Embeddings, among: np.ndarray, seed: int) -> np.ndarray:
    """Return the negatives that beat the own pair, of images and of captions that are asked for.

    Args:
        embeddings: The embeddings.
        among: Positions of the rows that answer, ascending.
        seed: Seed of the rows that are asked for.
    """
    image, text = unit_rows(embeddings.image[among]), unit_rows(embeddings.text[among])
    ids = None if embeddings.positives is None else embeddings.positives[among]
    groups = np.arange(len(among)) if ids is None else ids[:, 0]
    image_groups, text_groups = groups_of_rows(groups, groups if ids is None else ids[:, -1])
    asked = _some_rows(len(among), seed)
    to_text = rank_positives(image[asked], text, image_groups[asked], text_groups)
    to_image = rank_positives(text[asked], image, text_groups[asked], image_groups)
    return np.concatenate([ranking.above + ranking.tied for ranking in (to_text, to_image)])


def _look_alikes(embeddings: Embeddings, table: HardPairTable, asked: np.ndarray) -> float | None:
    """Return the share of the first hard pairs whose images or captions are nearly equal.

    Args:
        embeddings: The embeddings.
        table: The hard pairs.
        asked: Positions of the targets that are looked at.
    """
    position = np.full(embeddings.num_samples + 1, -1)  # the last entry serves the padding
    position[embeddings.rows] = np.arange(len(embeddings.rows))
    listed = position[np.asarray(table.indices)[embeddings.rows[asked], :NEAREST]]
    targets = np.repeat(asked, listed.shape[1])[listed.ravel() >= 0]
    others = listed.ravel()[listed.ravel() >= 0]
    if not len(others):
        return None
    cosines = [
        (unit_rows(side[targets]) * unit_rows(side[others])).sum(axis=1)
        for side in (embeddings.image, embeddings.text)
    ]
    return float((np.maximum(*cosines) > LOOK_ALIKE).mean())


def _still_rising(run: Path, metric: str) -> bool | None:
    """Return whether the best epoch of a run is in its last quarter; ``None`` without a curve."""
    path = run / "checkpoints/results.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    curve = {line["epoch"]: line[metric] for line in map(json.loads, lines) if metric in line}
    if len(curve) < 2:
        return None
    best = max(curve, key=lambda epoch: (curve[epoch], -epoch))
    return bool(best > UNFINISHED_SHARE * max(curve))


def _some_rows(count: int, seed: int, most: int = QUERIES) -> np.ndarray:
    """Return up to ``most`` row positions, ascending."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.permutation(count)[:most])
