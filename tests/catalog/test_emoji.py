from hardpairs.catalog.emoji import VENDORS, caption_of, read
from tests.catalog.made import facts, icon_set, npm_package


def test_a_caption_is_the_name_and_what_the_tags_add():
    tags = ["face", "happy", "happy face", "smile", "café", "a", "b"]
    assert caption_of("grinning face", tags) == "grinning face, happy, smile, a, b"


def test_vendors_drawings_of_one_emoji_are_a_group(tmp_path):
    entries = [
        {"hexcode": "2615", "label": "hot beverage", "tags": ["coffee"], "group": 4},
        {"hexcode": "1F468-200D-1F527", "label": "man mechanic", "group": 1},
        {"hexcode": "1F469-200D-1F527", "label": "woman mechanic", "group": 1},
        {"hexcode": "1F3FB", "label": "light skin tone", "group": 2},
        {"hexcode": "1F1E6", "label": "regional indicator A"},
    ]
    archives = {
        "emojibase-data": npm_package(
            tmp_path / "names.tgz", {"en/data.json": entries, "LICENSE": b"MIT"}
        )
    }
    chars = {"2615-fe0f": "hot-beverage", "1f468-200d-1f527": "man-mechanic", "1f3fb": "tone"}
    for vendor in VENDORS:
        more = {"1f469-200d-1f527": "woman-mechanic", "1f1e6": "a"} if vendor == "noto" else {}
        files = {
            "icons.json": icon_set([*chars.values(), *more.values()]),
            "chars.json": {**chars, **more},
            "info.json": facts(3, license="CC-BY-4.0"),
        }
        archives[f"@iconify-json/{vendor}"] = npm_package(tmp_path / f"{vendor}.tgz", files)
    collection = read(archives)
    found = {c.name: (c.caption, c.group, c.thing) for c in collection.candidates}
    assert len(found) == 9
    assert found["noto:2615"] == ("hot beverage, coffee", "2615", "beverage hot")
    assert found["twemoji:2615"] == found["noto:2615"]
    assert found["noto:1f469-200d-1f527"][2] == found["openmoji:1f468-200d-1f527"][2] == "mechanic"
    assert collection.dropped == {"a skin tone, or without a name": 5}
    assert {c.license for c in collection.candidates} == {"CC-BY-4.0"}
    assert set(collection.notices) == {"emojibase-data.txt", *(f"{name}.txt" for name in VENDORS)}
