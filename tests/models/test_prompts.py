"""The names of classes in prompts."""

import json

import pytest

from hardpairs.core.errors import UserError
from hardpairs.models.prompts import look_like_codes, prompt_names, read_names


def test_ids_of_imagenet_have_openclips_names() -> None:
    folders = ["n01440764", "n01443537", "n02102040", "n03000684"]
    names = ["tench", "goldfish", "English Springer Spaniel", "chainsaw"]
    assert prompt_names(folders, "val") == names
    assert prompt_names(["great_cat", "n1"], "val") == ["great cat", "n1"]
    numbers = sorted(map(str, range(1000)))
    of_number = dict(zip(numbers, prompt_names(numbers, "v2"), strict=True))
    assert (of_number["0"], of_number["1"], of_number["217"]) == (names[0], names[1], names[2])
    with pytest.raises(UserError, match="1 class folders are WordNet ids") as error:
        prompt_names(["n01440764", "n99999999"], "val")
    assert error.value.code == 3 and "n99999999" in error.value.where


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "red fox\n\n grey owl \n"),
        ("a.txt", "\ufeff001\tred fox\r\n000\tunused\r\n002\tgrey owl\r\n"),
        ("a.json", json.dumps(["red fox", "grey owl"])),
        ("a.json", json.dumps({"001": "red fox", "002": "grey owl"})),
    ],
)
def test_names_of_a_file(tmp_path, name, text) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    names = read_names(str(tmp_path / name))
    assert prompt_names(["001", "002"], "val", names) == ["red fox", "grey owl"]


def test_names_by_wordnet_id(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("n01440764 tench, Tinca tinca\nn99999999 moon car\n")
    names = read_names(str(tmp_path / "a.txt"))
    assert prompt_names(["n99999999"], "val", names) == ["moon car"]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("nowhere.txt", None, 2),
        ("a.txt", b"\n\n", 3),
        ("a.txt", b"caf\xe9\n", 3),
        ("a.txt", b"1\ta\n1\tb\n", 3),
        ("a.txt", b"one\n", 3),
        ("a.txt", b"1\ta\n3\tb\n", 3),
        ("a.json", b'{"1": 5}', 3),
        ("a.json", b'["a", " ", 3]', 3),
        ("a.json", b"{", 3),
        ("a.json", b"7", 3),
    ],
)
def test_names_that_are_refused(tmp_path, name, content, code) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        prompt_names(["1", "2"], "val", read_names(str(tmp_path / name)))
    assert error.value.code == code


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["0", "1", "2"], True),
        (["class_1", "class 2"], True),
        (["id00017", "n99999999"], True),
        (["c7-12", "c8-1"], True),
        (["cat", "dog 2000", "狗"], False),
        (["A", "B"], False),
        (["747-400", "A320", "Cessna 172 of a kind", "Spitfire"], False),
        (["fire truck", "T-shirt 4"], False),
    ],
)
def test_names_that_look_like_codes(names, expected) -> None:
    assert look_like_codes(names) is expected
