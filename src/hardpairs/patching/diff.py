"""Unified diffs laid over files in memory: pure functions of bytes.

A hunk has no fuzz: its context and removed lines must stand in the file exactly once, wherever that is. So lines that a user added
above it do not matter, and lines that a user changed in it are found and named. Hunks of different patches share no line, so the
patches can be laid on and taken off in any order (``tests/patches/test_series.py`` checks both).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

PACKAGE = "open_clip_train"

Line = tuple[bytes, bytes]  # text and line end; the last line of a file may have none

_HUNK_HEAD = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_FILE_HEAD = re.compile(rb"\+\+\+ b/(?:.*/)?" + PACKAGE.encode() + rb"/(\S+)")


@dataclass(frozen=True)
class Hunk:
    """One place of one file, lines without their line ends.

    Args:
        file: path inside ``open_clip_train``.
        line: where the old lines start in OpenCLIP's own file, counted from 1; only used to say where an edit is.
        old: context and removed lines.
        new: context and added lines.
        changed: changed lines of the file, max(added, removed).
    """

    file: str
    line: int
    old: tuple[bytes, ...]
    new: tuple[bytes, ...]
    changed: int

    def reverse(self) -> Hunk:
        return replace(self, old=self.new, new=self.old)


@dataclass(frozen=True)
class Patch:
    """One file of ``patches/``."""

    name: str
    title: str
    series: str
    text: str
    hunks: tuple[Hunk, ...]

    @property
    def files(self) -> list[str]:
        return sorted({hunk.file for hunk in self.hunks})

    @property
    def changed(self) -> int:
        return sum(hunk.changed for hunk in self.hunks)

    def reverse(self) -> Patch:
        return replace(self, hunks=tuple(hunk.reverse() for hunk in reversed(self.hunks)))


@dataclass(frozen=True)
class Edit:
    """A line in the way of a hunk: what stands there is not what OpenCLIP has."""

    patch: str
    file: str
    line: int
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: expected {self.expected!r}, found {self.found!r} ({self.patch})"


def parse_patch(name: str, text: str) -> Patch:
    """Reads a patch: free text with a title and a ``Series:`` line, then unified diffs of files in ``open_clip_train``.

    Raises:
        ValueError: for a text that is no such patch.
    """
    series = re.search(r"^Series: (hooks|mends)$", text, re.MULTILINE)
    hunks = tuple(_hunks(name, text.encode("utf-8").split(b"\n")))
    if not series or not hunks:
        raise ValueError(f"{name}: no 'Series: hooks' or 'Series: mends' line, or no hunk")
    return Patch(name=name, title=text.split("\n", 1)[0], series=series[1], text=text, hunks=hunks)


def _hunks(name: str, lines: Sequence[bytes]) -> Iterator[Hunk]:
    file, position = "", 0
    while position < len(lines):
        if head := _FILE_HEAD.match(lines[position]):
            file = head[1].decode("utf-8")
        elif head := _HUNK_HEAD.match(lines[position]):
            old_count, new_count = (int(count or 1) for count in head.group(2, 3))
            body = _body(lines[position + 1 :], old_count, new_count)
            if not file or len(body) < max(old_count, new_count):
                raise ValueError(f"{name}: broken hunk at line {position + 1}")
            signs = [line[:1] for line in body]
            yield Hunk(
                file=file,
                line=int(head[1]),
                old=tuple(line[1:] for line in body if line[:1] != b"+"),
                new=tuple(line[1:] for line in body if line[:1] != b"-"),
                changed=max(signs.count(b"+"), signs.count(b"-")),
            )
            position += len(body)
        position += 1


def _body(lines: Sequence[bytes], old_count: int, new_count: int) -> list[bytes]:
    body = []
    for line in lines:
        if old_count == new_count == 0:
            break
        line = line or b" "  # some editors strip the blank that marks an empty context line
        old_count -= line[:1] != b"+"
        new_count -= line[:1] != b"-"
        body.append(line)
    return body


def apply_hunk(hunk: Hunk, content: bytes) -> bytes | None:
    """Lays one hunk over a file; None when its old lines do not stand there exactly once, with one kind of line end."""
    lines = list(_split(content))
    places = _places(lines, hunk.old)
    if len(places) != 1:
        return None
    start, stop = places[0], places[0] + len(hunk.old)
    ends = {end for _, end in lines[start:stop]}
    if len(ends) != 1 or ends == {b""}:
        return None  # mixed line ends, or a last line without one, could not be given back as they were
    (end,) = ends
    lines[start:stop] = [(text, end) for text in hunk.new]
    return b"".join(text + end for text, end in lines)


@lru_cache(maxsize=256)
def _split(content: bytes) -> tuple[Line, ...]:
    lines = [
        (line[:-1], b"\r\n") if line.endswith(b"\r") else (line, b"\n")
        for line in content.split(b"\n")
    ]
    last = content.rsplit(b"\n", 1)[-1]
    return (*lines[:-1], (last, b"")) if last else tuple(lines[:-1])


def _places(lines: Sequence[Line], block: Sequence[bytes]) -> list[int]:
    starts = [i for i, (text, _) in enumerate(lines) if text == block[0]]
    return [i for i in starts if [text for text, _ in lines[i : i + len(block)]] == list(block)]


def state(hunk: Hunk, content: bytes) -> str:
    """``applied``, ``open`` (it can be applied) or ``edited``.

    The shorter of the two sides may stand once more inside the longer one: a function that is put in between two blank lines leaves
    the blank lines and what follows them together.
    """
    old, new = (_spans(_split(content), block) for block in (hunk.old, hunk.new))
    if len(new) == 1 and all(_inside(span, new[0]) for span in old):
        return "applied"
    if len(old) == 1 and all(_inside(span, old[0]) for span in new):
        return "open" if apply_hunk(hunk, content) is not None else "edited"
    return "edited"


def _spans(lines: Sequence[Line], block: Sequence[bytes]) -> list[tuple[int, int]]:
    return [(start, start + len(block)) for start in _places(lines, block)]


def _inside(inner: tuple[int, int], outer: tuple[int, int]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def patch_state(patch: Patch, files: dict[str, bytes]) -> str:
    """As ``state``, for all hunks of a patch together; a file that is missing counts as edited."""
    states = {state(hunk, files.get(hunk.file, b"")) for hunk in patch.hunks}
    return states.pop() if len(states) == 1 else "edited"


def apply_patch(patch: Patch, files: dict[str, bytes]) -> dict[str, bytes]:
    """Lays a patch over files that it fits (``patch_state`` says "open").

    Returns:
        All files, the changed ones new.
    """
    files = dict(files)
    for hunk in patch.hunks:
        content = apply_hunk(hunk, files[hunk.file])
        if content is None:
            raise ValueError(f"{patch.name} does not fit {hunk.file}")
        files[hunk.file] = content
    return files


def edits(patch: Patch, files: dict[str, bytes]) -> list[Edit]:
    """The lines that keep a patch from being laid on, by the closest place for each hunk that does not fit."""
    found = []
    for hunk in patch.hunks:
        content = files.get(hunk.file)
        if content is None:
            found.append(
                Edit(
                    patch.name,
                    hunk.file,
                    hunk.line,
                    hunk.old[0].decode("utf-8", "replace"),
                    "no such file",
                )
            )
        elif state(hunk, content) != "open":
            found.append(_closest(patch.name, hunk, _split(content)))
    return found


def _closest(name: str, hunk: Hunk, lines: Sequence[Line]) -> Edit:
    texts = [text for text, _ in lines]

    def agreement(start: int) -> tuple[int, int]:
        same = sum(a == b for a, b in zip(texts[start:], hunk.old, strict=False) if a.strip())
        return same, -abs(start + 1 - hunk.line)

    start = max(range(max(1, len(texts))), key=agreement)
    for offset, expected in enumerate(hunk.old):
        found = texts[start + offset] if start + offset < len(texts) else b"end of file"
        if found != expected:
            return Edit(
                name,
                hunk.file,
                start + offset + 1,
                *(line.decode("utf-8", "replace").strip() for line in (expected, found)),
            )
    several = len(_places(lines, hunk.old)) > 1
    return Edit(
        name,
        hunk.file,
        start + 1,
        *(("these lines once", "twice") if several else ("one kind of line end", "two")),
    )
