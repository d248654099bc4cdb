"""Scripts of captions, and captions that are no text about an image."""

import pytest

from hardpairs.checking.captions import NO_LETTERS, doubt_about, script_of


@pytest.mark.parametrize(
    ("caption", "script"),
    [
        ("a red fox", "Latin"),
        ("красная лиса by Ann", "Cyrillic"),
        ("一只红狐狸", "CJK"),
        ("きつねの写真", "Hiragana"),
        ("여우", "Hangul"),
        ("ثعلب أحمر", "Arabic"),
        ("12 🦊", NO_LETTERS),
    ],
)
def test_scripts(caption, script):
    assert script_of(caption) == script


@pytest.mark.parametrize(
    ("caption", "doubt"),
    [
        ("nan", "a word for no value"),
        ("N/A", "a word for no value"),
        ("IMG_0001.JPG", "a file name"),
        ("https://example.org/a?b=c", "a web address"),
        ("<b>a fox</b>", "with markup"),
        ("fox &amp; hare", "with markup"),
        ("cafÃ©", "in a wrong encoding"),
        ("...", "without letters and digits"),
        ("word " * 61, "longer than 60 words, about 77 tokens"),
    ],
)
def test_doubts(caption, doubt):
    assert doubt_about(caption.strip()) == doubt


@pytest.mark.parametrize(
    "caption",
    ["a fox", "null island", "Ätna", "a < b > c", "see www.x.org", "狐", "7", "Ann & Bob"],
)
def test_captions_without_doubt(caption):
    assert doubt_about(caption) == ""
