"""Packed strings are the strings."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hardpairs.data.strings import PackedStrings, printable, readable


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


def test_text_that_is_no_unicode():
    assert readable("kite \ud83d") == "kite \ufffd" and readable("kite \ud83e\ude81") == "kite 🪁"
    assert printable("caf\udce9") == "caf\\udce9" and printable("café") == "café"
