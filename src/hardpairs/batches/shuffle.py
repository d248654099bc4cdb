"""A seeded shuffle of 0..n-1 that gives any place's value alone: nothing of length n is made, so the first batch costs what the last one does."""

from __future__ import annotations

from functools import lru_cache
from math import isqrt

import numpy as np

ROUNDS = 8
"""Luby and Rackoff need four with ideal round functions; a mixing function that is not ideal gets twice as many."""


@lru_cache(maxsize=64)
def shuffle_keys(*entropy: int) -> np.ndarray:
    """Keys of a shuffle from whole numbers such as (seed, epoch): (ROUNDS,) uint64."""
    # SeedSequence takes (1, 2) and (1, 2, 0) for the same entropy; the spawn key keeps these apart from a batch's own (seed, epoch, step).
    return np.random.SeedSequence(entropy, spawn_key=(1,)).generate_state(ROUNDS, np.uint64)


def shuffled(places: np.ndarray, count: int, keys: np.ndarray) -> np.ndarray:
    """The values at ``places`` of a shuffled 0..count-1.

    A Feistel network over pairs (left, right) with both below w = ceil(sqrt(count)), so that left * w + right runs through the w * w
    numbers just above ``count``; a value that falls outside is sent through again until it falls inside (Black and Rogaway, *Ciphers
    with Arbitrary Finite Domains*, CT-RSA 2002). A bijection for every key. Not a uniformly drawn permutation, since 512 bits of key
    cannot name n! of them; the tests check that single places and pairs of places are uniform over seeds. Not for secrets.

    Args:
        places: (P,) whole numbers in [0, count).
        keys: from ``shuffle_keys``.

    Returns:
        (P,) int64.
    """
    width = np.uint64(isqrt(count - 1) + 1 if count else 1)
    values = _rounds(np.asarray(places).astype(np.uint64), width, keys)
    while len(outside := np.flatnonzero(values >= count)):
        values[outside] = _rounds(values[outside], width, keys)
    return values.astype(np.int64)


def _rounds(values: np.ndarray, width: np.uint64, keys: np.ndarray) -> np.ndarray:
    left = values // width
    right = values - left * width
    for key in keys:
        left, right = right, (left + mix(right ^ key) % width) % width
    return left * width + right


def mix(values: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): uint64 to well-spread uint64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
