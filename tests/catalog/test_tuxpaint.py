import shutil

import pytest

from hardpairs.catalog.tuxpaint import read
from tests.catalog.made import debian_package, png

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg is not installed")


def test_stamps_with_a_sentence(tmp_path):
    folder = "usr/share/tuxpaint/stamps"
    files = {
        f"{folder}/a/dog.png": png("red"),
        f"{folder}/a/dog.txt": b"A dog.\nde.utf8=Ein Hund.\n",
        f"{folder}/a/dog.ogg": b"sound",
        f"{folder}/a/dog2.svg": b"<svg/>",
        f"{folder}/a/dog2.txt": b"The dog!\n",
        f"{folder}/a/coin5.svg": b"<svg/>",
        f"{folder}/a/coin5.txt": b"A coin of 5 cents.\n",
        f"{folder}/b/cat.svg": b"<svg/>",
        f"{folder}/b/plus.png": png("red"),
        f"{folder}/b/plus.txt": b"+\n",
        "usr/share/doc/tuxpaint-stamps-default/copyright": b"GPL",
    }
    path = debian_package(tmp_path / "tuxpaint_1_all.deb", files, tmp_path / "root")
    collection = read({"tuxpaint-stamps-default": path})
    found = {c.name: (c.caption, c.group, c.thing) for c in collection.candidates}
    assert found == {
        "a/dog": ("A dog.", "dog", "dog"),
        "a/dog2": ("The dog!", "dog", "dog"),
        "a/coin5": ("A coin of 5 cents.", "5 cents coin of", "cents coin of"),
    }
    assert collection.dropped == {"a letter or sign, or without a sentence": 2}
    assert collection.notices == {"tuxpaint-copyright.txt": "GPL"}
