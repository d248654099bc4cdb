"""Hunks laid over files: on made-up files, and on OpenCLIP's with an edit in the way."""

from __future__ import annotations

import importlib.metadata
import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from hardpairs.patching.diff import PACKAGE, Hunk, apply_hunk, edits, patch_state, state
from hardpairs.patching.series import VERSIONS, load_series

SERIES = load_series(VERSIONS[0])
INSTALLED = Path(str(importlib.metadata.distribution("open_clip_torch").locate_file(PACKAGE)))
LINES = st.lists(st.sampled_from([b"a", b"b", b"c", b"", b"a\rb"]), max_size=8)


@settings(max_examples=300, deadline=None)
@given(
    before=LINES,
    old=LINES.filter(len),
    new=LINES.filter(len),
    after=LINES,
    end=st.sampled_from([b"\n", b"\r\n"]),
    last=st.booleans(),
)
def test_a_hunk_comes_off_as_it_went_on(before, old, new, after, end, last):
    """Or it is refused; in no case is a byte lost or moved."""
    lines = [*before, *old, *after]
    content = end.join(lines) + (end if last else b"")
    hunk = Hunk("main.py", 1, tuple(old), tuple(new), 1)
    there = apply_hunk(hunk, content)
    if there is not None and state(hunk, there) == "applied":
        assert apply_hunk(hunk.reverse(), there) in (content, None)
        assert end not in (b"\r\n",) or there.count(b"\n") == there.count(b"\r\n")


@settings(max_examples=100, deadline=None)
@given(number=st.integers(0, len(SERIES) - 1), seed=st.integers(0, 10**6))
def test_an_edit_in_a_hunk_is_named_by_its_line(number, seed):
    patch, rng = SERIES[number], random.Random(seed)
    hunk = rng.choice(patch.hunks)
    files = {path.name: path.read_bytes() for path in INSTALLED.glob("*.py")}
    lines = files[hunk.file].split(b"\n")
    edited = hunk.line - 1 + rng.randrange(len(hunk.old))
    lines[edited] += b"  # edited"
    files[hunk.file] = b"\n".join(lines)
    assert patch_state(patch, files) == "edited"
    assert any(
        edit.file == hunk.file and edit.line == edited + 1 and "# edited" in edit.actual
        for edit in edits(patch, files)
    )
