"""Which icons are taken, and the words for them."""

import pytest

from hardpairs.catalog.icons import read, read_names
from tests.catalog.made import facts, icon_set, npm_package


@pytest.mark.parametrize(
    ("name", "caption"),
    [
        ("account-arrow-left", "account arrow left"),
        ("access-time-20-regular", "access time"),
        ("access-time-24-filled", "access time filled"),
        ("arrow-up-from-line-outline", "arrow up from line outline"),
        ("light-group-2-outline-rounded", "light group outline"),
        ("chart-bar-outline-36px", "chart bar outline"),
        ("number-5-square-fill", "number 5 square filled"),
        ("traffic-light", "traffic light"),
        ("traffic-light-20-regular", "traffic light"),
        ("round-table", "round table"),
        ("42", ""),
    ],
)
def test_the_caption_of_a_name(name, caption):
    assert dict(read_names([name]))[name].caption == caption


def test_a_doubtful_word_is_a_style_beside_another_style():
    names = ["car-key", "car-key-light", "car-key-bold", "traffic-light", "traffic-light-outline"]
    captions = {name: said.caption for name, said in read_names(names)}
    assert captions == {
        **dict.fromkeys(names[:3], "car key"),
        "traffic-light": "traffic light",
        "traffic-light-outline": "traffic light outline",
    }


def test_styles_that_stand_first():
    names = ["outline-king-bed", "baseline-king-bed", "round-king-bed", "round"]
    captions = [said.caption for _, said in read_names(names, style_first=True)]
    assert captions == ["king bed outline", "king bed", "king bed", "round"]


def test_plain_weights_and_large_sizes_come_first():
    names = ["a-b-48-thin", "a-b-16", "a-b-24", "a-b-bold-24"]
    said = dict(read_names(names))
    assert sorted(names, key=lambda name: said[name].rank)[0] == "a-b-24"


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    moving = icon_set(["door-open", "cat-house"])
    moving["icons"]["cat-house"]["body"] += '<animate attributeName="x"/>'
    moving["icons"]["door-open"] |= {"width": 48, "left": 2}
    sets = {
        "mdi": (
            facts(6, "Material", "Apache-2.0"),
            icon_set(
                ["arrow-left", "arrow-left-outline", "arrow-left-bold", "dog", "brand-some-shop"]
            ),
        ),
        "ph": (facts(2, "UI Other / Mixed Grid"), icon_set(["left-arrow", "number-5-square"])),
        "moves": (facts(2, "Thematic"), moving),
        "logos": (facts(7, "Logos"), icon_set(["some-shop"])),
        "nc": (facts(3, license="CC-BY-NC-4.0"), icon_set(["green-tree"])),
        "old": (facts(4, hidden=True), icon_set(["green-tree"])),
    }
    content = {f"json/{name}.json": icons for name, (_, icons) in sets.items()}
    content["collections.json"] = {name: about for name, (about, _) in sets.items()}
    path = npm_package(tmp_path_factory.mktemp("icons") / "icons.tgz", content)
    return read({"@iconify/json": path})


def test_candidates(collection):
    found = {c.name: (c.caption, c.group, c.thing, c.license) for c in collection.candidates}
    assert found == {
        "mdi:arrow-left": ("arrow left", "arrow left", "arrow left", "Apache-2.0"),
        "mdi:arrow-left-outline": (
            *("arrow left outline", "arrow left outline", "arrow left", "Apache-2.0"),
        ),
        "ph:left-arrow": ("left arrow", "arrow left", "arrow left", "MIT"),
        "ph:number-5-square": ("number 5 square", "5 number square", "number square", "MIT"),
        "moves:door-open": ("door open", "door open", "door open", "MIT"),
    }


def test_what_is_left_out_is_counted(collection):
    assert collection.dropped == {
        "another size or weight": 1,
        "not 2 to 8 words": 1,
        "a brand": 1,
        "moves, or needs fonts": 1,
        "in a set of logos, flags, emoji, file types, or one that is out of use": 11,
        "in a set whose license restricts changed copies": 3,
    }


def test_a_drawing_is_a_square_with_the_icon_in_its_middle(collection):
    drawing = next(c.drawing for c in collection.candidates if c.name == "moves:door-open")
    assert b'viewBox="2 -12 48 48"' in drawing and b'color="#000"' in drawing


def test_sets_in_use_are_named_with_author_and_license(collection):
    notice = collection.notices["icon-sets.md"]
    assert "| mdi | A set | [Somebody](https://example.org) | [Apache-2.0]" in notice
    assert "logos" not in notice and "nc" not in notice
