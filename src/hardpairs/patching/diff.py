"""Unified diffs laid over files in memory: pure functions of bytes.

A hunk has no fuzz: its context and removed lines must stand in the file exactly once, wherever that
is. So lines that a user added above it do not matter, and lines that a user changed in it are found
and named. Hunks of different patches share no line, so the patches can be laid on and taken off in
any order (``tests/patching/test_series.py`` checks both).

``git apply`` takes every patch of the series and gives the same bytes; a test checks it. It cannot
replace this module, for four reasons. It reports the first line of a hunk that fails, not the
edited line. Of repeated lines it takes the copy nearest to the line number. It refuses files with
CRLF line ends, or rewrites the ends. And an installed package needs the patches where git is not
installed.
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
    """A change of consecutive lines of one file, without their line ends.

    Attributes:
        file: Path inside ``open_clip_train``.
        line: Where the old lines start in OpenCLIP's own file, from 1; only used in messages.
        old: Context and removed lines.
        new: Context and added lines.
        changed: Changed lines of the file, max(added, removed).
    """

    file: str
    line: int
    old: tuple[bytes, ...]
    new: tuple[bytes, ...]
    changed: int

    def reverse(self) -> Hunk:
        """Return the hunk that takes this one off."""
        return replace(self, old=self.new, new=self.old)


@dataclass(frozen=True)
class Patch:
    """One file of ``patches/``.

    Attributes:
        name: The file's name without ``.patch``.
        title: Its first line.
        series: ``hooks`` or ``mends``.
        text: The whole file.
        hunks: Its changes, in the file's order.
    """

    name: str
    title: str
    series: str
    text: str
    hunks: tuple[Hunk, ...]

    @property
    def files(self) -> list[str]:
        """Return the paths of the changed files, sorted."""
        return sorted({hunk.file for hunk in self.hunks})

    @property
    def changed(self) -> int:
        """Return the number of changed upstream lines."""
        return sum(hunk.changed for hunk in self.hunks)

    def reverse(self) -> Patch:
        """Return the patch that takes this one off."""
        return replace(self, hunks=tuple(hunk.reverse() for hunk in reversed(self.hunks)))


@dataclass(frozen=True)
class Edit:
    """A line in the way of a hunk: the file has another line than OpenCLIP.

    Attributes:
        patch: Name of the patch.
        file: Path inside ``open_clip_train``.
        line: Number of the line in the file, from 1.
        expected: The line that the hunk needs.
        actual: The line in the file.
    """

    patch: str
    file: str
    line: int
    expected: str
    actual: str

    def __str__(self) -> str:
        lines = f"expected {self.expected!r}, found {self.actual!r}"
        return f"{self.file}:{self.line}: {lines} ({self.patch})"


def parse_patch(name: str, text: str) -> Patch:
    """Read a patch.

    Args:
        name: The file's name without ``.patch``.
        text: Free text with a title and a ``Series:`` line, then unified diffs of files in
            ``open_clip_train``.

    Returns:
        The patch.

    Raises:
        ValueError: For a text without series or hunk, or with a broken hunk.
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
    """Lay one hunk over a file.

    Args:
        hunk: The change.
        content: The file.

    Returns:
        The new content; None unless the old lines stand there exactly once, with one kind of line
        end.
    """
    lines = list(_split(content))
    starts = _starts(lines, hunk.old)
    if len(starts) != 1:
        return None
    start, stop = starts[0], starts[0] + len(hunk.old)
    ends = {end for _, end in lines[start:stop]}
    if len(ends) != 1 or ends == {b""}:
        return None  # after mixed line ends, or a last line without one, there is no way back
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


def _starts(lines: Sequence[Line], block: Sequence[bytes]) -> list[int]:
    starts = [i for i, (text, _) in enumerate(lines) if text == block[0]]
    return [i for i in starts if [text for text, _ in lines[i : i + len(block)]] == list(block)]


def state(hunk: Hunk, content: bytes) -> str:
    """Return ``applied``, ``open`` (it can be applied) or ``edited``.

    The shorter of the two sides may stand once more inside the longer one: a function that is put
    between two blank lines leaves the blank lines and what follows them together.
    """
    old, new = (_spans(_split(content), block) for block in (hunk.old, hunk.new))
    if len(new) == 1 and all(_inside(span, new[0]) for span in old):
        return "applied"
    if len(old) == 1 and all(_inside(span, old[0]) for span in new):
        return "open" if apply_hunk(hunk, content) is not None else "edited"
    return "edited"


def _spans(lines: Sequence[Line], block: Sequence[bytes]) -> list[tuple[int, int]]:
    return [(start, start + len(block)) for start in _starts(lines, block)]


def _inside(inner: tuple[int, int], outer: tuple[int, int]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def patch_state(patch: Patch, files: dict[str, bytes]) -> str:
    """Return the common ``state`` of the hunks of a patch; a missing file counts as edited."""
    states = {state(hunk, files.get(hunk.file, b"")) for hunk in patch.hunks}
    return states.pop() if len(states) == 1 else "edited"


def apply_patch(patch: Patch, files: dict[str, bytes]) -> dict[str, bytes]:
    """Lay a patch over files that it fits.

    Args:
        patch: A patch whose ``patch_state`` is ``open``.
        files: Contents by path.

    Returns:
        All files, the changed ones new.

    Raises:
        ValueError: When the patch does not fit.
    """
    files = dict(files)
    for hunk in patch.hunks:
        content = apply_hunk(hunk, files[hunk.file])
        if content is None:
            raise ValueError(f"{patch.name} does not fit {hunk.file}")
        files[hunk.file] = content
    return files


def edits(patch: Patch, files: dict[str, bytes]) -> list[Edit]:
    """Return the edited lines that keep a patch from being applied.

    A hunk that does not fit is compared with the lines of the file that agree with most of it.
    """
    edited = []
    for hunk in patch.hunks:
        content = files.get(hunk.file)
        if content is None:
            expected = hunk.old[0].decode("utf-8", "replace")
            edited.append(Edit(patch.name, hunk.file, hunk.line, expected, "no such file"))
        elif state(hunk, content) != "open":
            edited.append(_first_edit(patch.name, hunk, _split(content)))
    return edited


def _first_edit(name: str, hunk: Hunk, lines: Sequence[Line]) -> Edit:
    texts = [text for text, _ in lines]

    def agreement(start: int) -> tuple[int, int]:
        same = sum(a == b for a, b in zip(texts[start:], hunk.old, strict=False) if a.strip())
        return same, -abs(start + 1 - hunk.line)

    start = max(range(max(1, len(texts))), key=agreement)
    for offset, expected in enumerate(hunk.old):
        actual = texts[start + offset] if start + offset < len(texts) else b"end of file"
        if actual != expected:
            pair = (line.decode("utf-8", "replace").strip() for line in (expected, actual))
            return Edit(name, hunk.file, start + offset + 1, *pair)
    several = len(_starts(lines, hunk.old)) > 1
    fault = ("these lines once", "twice") if several else ("one kind of line end", "two")
    return Edit(name, hunk.file, start + 1, *fault)
