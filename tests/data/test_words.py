"""What a word is, by each rule."""

from __future__ import annotations

import pytest

from hardpairs.data.words import SEPARATORS, split_words


def test_letters_and_digits():
    assert split_words("The red-brick house_2, Привет!") == [
        "the",
        "red",
        "brick",
        "house",
        "2",
        "привет",
    ]


def test_signs_are_words():
    assert split_words("Keycap: #, woman's hat_2", "signs") == [
        *("keycap", ":", "#", ",", "woman", "'", "s", "hat", "_", "2")
    ]


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        (' A dog\'s [toy]: "red"; (or) blue?! a,b.c ', "a dog s toy red or blue a b c"),
        ("well-known T5", "well-known t5"),
        ("... ?", ""),
        (f"a{SEPARATORS}b", "a b"),
        ("White chair on dark hardwood floor", "white chair on dark hardwood floor"),
        ("  The cat's T-shirt (red)! ", "the cat s t-shirt red"),
        ('a;b:c,"d"[e]f?', "a b c d e f"),
        ("50% off_now #1 & más\tÉTÉ\u00a0x", "50% off_now #1 & más été x"),
        ("", ""),
    ],
)
def test_miniclips_words(caption, words):
    assert split_words(caption, "compounds") == words.split()


def test_miniclips_signs_are_the_twelve():
    expected = [",", ".", "!", "?", ":", ";", "'", '"', "(", ")", "[", "]"]
    assert sorted(SEPARATORS) == sorted(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('WASH-\nINGTON (AP) -- "Café" opens.\nIt\'s 5:30!', "washington ap -- caf opens its 530"),
        ("“The” president’s — day", "the presidents day"),  # as where all but ASCII is deleted
        ("Президент подписал «закон» — сегодня.", "президент подписал закон сегодня"),
        ("हिन्दी", "हिन्दी"),  # vowel signs are marks, not letters
    ],
)
def test_clippings_words(text, words):
    assert split_words(text, "printed") == words.split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('WASH-\nINGTON (AP) -- "Café" opens.\nIt\'s 5:30!', "washington ap -- café opens its 530"),
        ("Президент подписал «закон» — сегодня.", "президент подписал закон сегодня"),
        ("Η Αθήνα, σήμερα·", "η αθήνα σήμερα"),
        ("هذا، كتاب جديد؟", "هذا كتاب جديد"),
        ("हिन्दी में", "हिन्दी में"),
        ("今日は、良い天気。", "今 日 は 良 い 天 気"),
        ("AI研究 ２０２４", "ai 研 究 2024"),
        ("cafe\u0301", "café"),
        ("... ？！", ""),
    ],
)
def test_words_of_every_alphabet(text, words):
    assert split_words(text, "unicode") == words.split()
    assert split_words("The Presi-\ndent's 5:30, t-shirt -- YES.", "unicode") == split_words(
        "The Presi-\ndent's 5:30, t-shirt -- YES.", "printed"
    )
