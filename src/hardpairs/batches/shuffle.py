"""A seeded shuffle of 0..n-1 that gives the value at any position alone.

A permutation of NumPy would be simpler, but every process of a run needs the whole of it before
its first batch, and anew for each epoch: at 400 million rows 89 s and 3.1 GB on one core of a
server. Here the first batch of 32,768 rows takes less than 0.1 s and others 3 to 6 ms, and nothing
of a row is kept (``python -m benchmarks.epoch``).

On a node with eight processes, web-sized data would cost 25 GB and a minute and a half in each
epoch, also when a run resumes in the middle of one. Another shuffle would also change the order of
the runs that users resume.
"""

from __future__ import annotations

from functools import lru_cache
from math import isqrt

import numpy as np

ROUNDS = 8
"""Luby and Rackoff need four with ideal round functions; a mixing function gets twice as many."""
VALUES_AT_ONCE = 8192
"""Values that go through the rounds together: their arrays fit into a core's cache."""


@lru_cache(maxsize=64)
def shuffle_keys(*entropy: int) -> np.ndarray:
    """Return the keys of a shuffle, (ROUNDS,) uint64, from whole numbers such as (seed, epoch)."""
    # SeedSequence takes (1, 2) and (1, 2, 0) for the same entropy. The spawn key tells these keys
    # from the generator of a batch, which is seeded with (seed, epoch, step).
    return np.random.SeedSequence(entropy, spawn_key=(1,)).generate_state(ROUNDS, np.uint64)


def shuffled(positions: np.ndarray, count: int, keys: np.ndarray) -> np.ndarray:
    """Return the values at some positions of a shuffled 0..count-1.

    A Feistel network over pairs (left, right) with both below w = ceil(sqrt(count)), so that
    left * w + right runs through the w * w numbers just above ``count``. A value that falls outside
    is sent through again until it falls inside (Black and Rogaway, *Ciphers with Arbitrary Finite
    Domains*, CT-RSA 2002). Every key gives a permutation. It is not drawn uniformly, because 512
    bits of key cannot name n! permutations; the tests check that single positions and pairs of
    positions are uniform over seeds. Not for secrets.

    Args:
        positions: (P,) whole numbers in [0, count).
        count: n.
        keys: From ``shuffle_keys``.

    Returns:
        (P,) int64.
    """
    width = np.uint64(isqrt(count - 1) + 1 if count else 1)
    values = np.asarray(positions).astype(np.uint64)
    for start in range(0, len(values), VALUES_AT_ONCE):
        part = values[start : start + VALUES_AT_ONCE]
        part[:] = _rounds(part, width, keys)
    while len(outside := np.flatnonzero(values >= count)):
        values[outside] = _rounds(values[outside], width, keys)
    return values.astype(np.int64)


def _rounds(values: np.ndarray, width: np.uint64, keys: np.ndarray) -> np.ndarray:
    left = values // width
    right = values - left * width
    sums, spare = np.empty_like(left), np.empty_like(left)
    for key in keys:
        mix(np.bitwise_xor(right, key, out=sums), spare)
        sums -= np.multiply(np.floor_divide(sums, width, out=spare), width, out=spare)
        sums += left
        np.subtract(sums, width, out=spare)  # wraps where sums are below width
        left, right = right, np.minimum(sums, spare, out=left)
    return np.asarray(left * width + right)


def mix(values: np.ndarray, spare: np.ndarray | None = None) -> np.ndarray:
    """Spread uint64 numbers well, in place: the finalizer of SplitMix64.

    Source: Steele, Lea, Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014.

    Args:
        values: The numbers, which are replaced.
        spare: An array like it, which is written to.

    Returns:
        ``values``.
    """
    values ^= np.right_shift(values, np.uint64(30), out=spare)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= np.right_shift(values, np.uint64(27), out=spare)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= np.right_shift(values, np.uint64(31), out=spare)
    return values
