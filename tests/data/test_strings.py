"""Packed strings are the strings."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hardpairs.data.strings import PackedStrings


@given(st.lists(st.text()))
@settings(max_examples=50, deadline=None)
def test_packed_strings_are_the_strings(texts):
    packed = PackedStrings.pack(texts)
    assert list(packed) == texts
    assert list(PackedStrings.concatenate([packed, PackedStrings.pack(["end"]), packed])) == [
        *texts,
        "end",
        *texts,
    ]
