"""Titles, keywords and licenses from RDF; names of collections are no captions."""

import shutil

import pytest

from hardpairs.catalog.openclipart import MAX_USES, Entry, caption_of, read, read_entry
from tests.catalog.made import debian_package, png

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg is not installed")
DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:cc="http://web.resource.org/cc/" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata><rdf:RDF>
<cc:Work><dc:title>{title}</dc:title><dc:description>{description}</dc:description>
<dc:subject><rdf:Bag>{keywords}</rdf:Bag></dc:subject>{license}</cc:Work></rdf:RDF></metadata></svg>"""
PUBLIC = '<cc:license rdf:resource="http://web.resource.org/cc/PublicDomain"/>'


def drawing(title, description="", keywords=(), license=PUBLIC):
    items = "".join(f"<rdf:li>{word}</rdf:li>" for word in keywords)
    return DRAWING.format(
        title=title, description=description, keywords=items, license=license
    ).encode()


def test_what_a_file_says():
    keywords = ("", "hash(0x85b8e0c)", "0x85b8e0c", "unsorted", "party", "united_nations", "party")
    entry = read_entry(drawing("Clipart by Some One - birthday_cake", " A \n cake ", keywords))
    assert entry == Entry("birthday cake", "A cake", ("party", "united nations"), "Public-Domain")
    assert read_entry(b"<svg") == read_entry(b"<svg/>") == Entry("", "", (), "")
    assert read_entry(drawing("a", license="")).license == ""


@pytest.mark.parametrize(
    ("entry", "caption"),
    [
        (Entry("Longsword", "", ("weapon", "tool"), ""), "Longsword, weapon, tool"),
        (Entry("Hot Dog", "Hot Dog", ("dog", "food"), ""), "Hot Dog, food"),
        (
            Entry("Mermaid", "A pretty mermaid, looking up.", ("mermaid", "woman"), ""),
            "Mermaid. A pretty mermaid, looking up, woman",
        ),
        (Entry("Gym", "Part of Hotel Icons Collection", (), ""), "Gym"),
        (Entry("Gym", "see http://example.org for more", (), ""), "Gym"),
    ],
)
def test_a_caption_says_nothing_twice(entry, caption):
    assert caption_of(entry) == caption


def test_candidates(tmp_path):
    svg = "usr/share/openclipart/svg"
    files = {
        f"{svg}/a/cat_01.svg": drawing("Cat 01", keywords=["animal"]),
        f"{svg}/a/cat_02.svg": drawing("Cat 02 (B and W)"),
        f"{svg}/b/none.svg": drawing(""),
        f"{svg}/b/free.svg": drawing("Free for all", license=""),
        f"{svg}/b/gone.svg": drawing("Without image"),
        "usr/share/doc/openclipart-svg/copyright": b"public domain",
    }
    files |= {f"{svg}/theme/{i}.svg": drawing("Lemon theme") for i in range(MAX_USES + 1)}
    stems = [name.removeprefix(f"{svg}/")[:-4] for name in files if name.startswith(svg)]
    images = {f"usr/share/openclipart/png/{stem}.png": png("red") for stem in stems}
    del images["usr/share/openclipart/png/b/gone.png"]
    collection = read(
        {
            name: debian_package(tmp_path / f"{name}_1_all.deb", content, tmp_path / name)
            for name, content in (("openclipart-svg", files), ("openclipart-png", images))
        }
    )
    found = {c.name: (c.caption, c.group, c.thing) for c in collection.candidates}
    assert found == {
        "a/cat_01": ("Cat 01, animal", "cat", "cat"),
        "a/cat_02": ("Cat 02 (B and W)", "and b cat w", "cat"),
    }
    assert collection.dropped == {
        "without a title": 1,
        "with a title that more than 8 drawings have": 9,
        "without a license": 1,
        "without an image in openclipart-png": 1,
    }
    assert collection.notices == {"openclipart-copyright.txt": "public domain"}
