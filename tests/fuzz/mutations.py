"""Seeded damage to files: bytes, lines, JSON values, headers of tars."""

from __future__ import annotations

import json
import random
import tarfile
from collections.abc import Callable
from typing import Any

TOKENS = (
    *(
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b'"',
        b"'",
        b",",
        b"\t",
        b"\r",
        b"\n",
        b"{",
        b"[",
        b"]}",
    ),
    *(b"NaN", b"Infinity", b"-1", b"1e999", b"9" * 400, b"null", b"true", b'"\\ud800"', b"../"),
    *(b"[" * 5000, b'{"a":' * 3000, b"&a *a", b"!!python/object:os.system", b"999999999999"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**70, 1.5, 1e300, float("nan"), float("inf"), "", "\ud800", "../x", " "),
    *([], {}, [[]], [None], {"": None}, "x" * 70_000),
)
Mutation = Callable[[bytes, random.Random], bytes]


def flip(data: bytes, rng: random.Random) -> bytes:
    """Change a few bytes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if changed:
            changed[rng.randrange(len(changed))] = rng.choice((0, 255, rng.randrange(256)))
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    """Leave out the end, the beginning or a part."""
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return rng.choice((data[:start], data[start:], data[:start] + data[end:]))


def repeat(data: bytes, rng: random.Random) -> bytes:
    """Repeat a part elsewhere."""
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    place = rng.randrange(len(data) + 1)
    return data[:place] + data[start:end] + data[place:]


def insert(data: bytes, rng: random.Random) -> bytes:
    """Put something that means something into it."""
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.choice((0, 0, 1, 4)))
    return data[:start] + rng.choice(TOKENS) + data[end:]


def change_json(data: bytes, rng: random.Random) -> bytes:
    """Replace, remove or double a value of JSON."""
    content = json.loads(data)
    for _ in range(rng.choice((1, 1, 3))):
        content = changed(content, rng)
    return json.dumps(content).encode()


def changed(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value))
        if rng.random() < 0.2:
            return {name: other for name, other in value.items() if name != key}
        return {**value, key: changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        place = rng.randrange(len(value))
        middle = rng.choice(([], [changed(value[place], rng)], [value[place]] * 2))
        return [*value[:place], *middle, *value[place + 1 :]]
    return rng.choice(VALUES)


def change_tar(data: bytes, rng: random.Random) -> bytes:
    """Change a header of a tar, and make its checksum right again."""
    changed = bytearray(data)
    headers = [place for place in range(0, len(data), 512) if data[place + 257 :][:5] == b"ustar"]
    start = rng.choice(headers)
    field, size = rng.choice(((0, 100), (124, 12), (156, 1), (157, 100), (345, 155)))
    sizes = (b"77777777777\0", b"00000000000\0", b"-0000000001\0", b"\x80" + b"\xff" * 11)
    names = (b"a/../../b.jpg", b"/etc/x.jpg", b"", b".", b"./0.jpg", b"\xff\xfe.jpg", b"x" * 100)
    values = {12: sizes, 1: tuple(b"0123456789xgLKSDN\0".split(b"?")), 100: names, 155: names}
    value = rng.choice(values[size])
    value = bytes([rng.choice(value)]) if size == 1 else value[:size]
    changed[start + field : start + field + size] = value.ljust(size, b"\0")
    checksum = tarfile.calc_chksums(bytes(changed[start : start + 512]))[0]
    changed[start + 148 : start + 156] = b"%06o\0 " % checksum
    return bytes(changed)


BYTES: tuple[Mutation, ...] = (flip, cut, repeat, insert)
"""For every kind of file."""


def mutated(data: bytes, seed: int, more: tuple[Mutation, ...] = ()) -> bytes:
    """Return a file with one to three mutations; the same for the same seed.

    Args:
        data: The whole file.
        seed: What is changed.
        more: Mutations of files of its kind, which come first.
    """
    rng = random.Random(seed)
    if more and rng.random() < 0.5:
        return rng.choice(more)(data, rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = rng.choice(BYTES)(data, rng)
    return data
