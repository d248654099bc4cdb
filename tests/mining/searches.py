"""Data for searches, and a search by keywords."""

from __future__ import annotations

import numpy as np

from hardpairs.mining import api
from hardpairs.mining.options import MiningOptions
from hardpairs.mining.pools import Pools
from hardpairs.mining.result import MiningResult


def themed(count: int, width: int, seed: int = 0, themes: int = 12) -> np.ndarray:
    """Return (count, width) float32 embeddings around a few centers."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(themes, width))
    noise = 0.8 * rng.normal(size=(count, width))
    return (centers[rng.integers(0, themes, count)] + noise).astype(np.float32)


def one_space(count: int, width: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Return image and text embeddings as of a CLIP model: some captions fit several images."""
    rng = np.random.default_rng(1)
    image = themed(count, width)
    text = (image + 0.9 * rng.normal(size=image.shape)).astype(np.float32)
    image[20:30], text[25:40] = image[10:20], text[10:25]
    return image, text


def search(image, text, top_k, *, groups=None, exclude=None, execution=None, **options):
    """Return the result of a search with the options given as keywords."""
    rules = MiningOptions(top_k=top_k, **options)
    result = api.search(image, text, rules, groups=groups, exclude=exclude, execution=execution)
    assert isinstance(result, MiningResult)
    return result


def assert_same(result: MiningResult, expected: tuple) -> None:
    """Compare a result with what ``reference`` returns."""
    indices, scores, kept, removed = expected
    assert (result.indices == indices).all() and (result.scores == scores).all()
    assert result.kept == kept and result.removed == removed


def pool_of_row(count: int, options: MiningOptions):
    """Return a function of a row that returns its candidates."""
    pools = Pools(count, None, options)
    parts = [pools[number] for number in range(len(pools))]
    own = {int(row): frozenset(part.candidates.tolist()) for part in parts for row in part.targets}
    return own.__getitem__
