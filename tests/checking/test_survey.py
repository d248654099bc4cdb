"""Every kind of row of a small table is counted once and named."""

import json

import pytest

from hardpairs.checking.survey import as_json, read_data, survey
from hardpairs.data.opening import open_samples
from tests.checking.data import open_table
from tests.helpers import picture, sample, write_tar


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    return read_data(open_table(tmp_path_factory.mktemp("data")))


def counts(findings):
    return {finding.what: finding.count for finding in findings}


def test_numbers(read):
    found = survey(read)
    assert (found.rows, found.usable, found.images, found.contents) == (10, 6, 7, 3)
    assert (found.captions, found.labelled, found.groups, found.shards) == (4, 4, 2, 0)
    assert found.formats == {"JPEG RGB": 3, "PNG RGB": 1}
    assert found.scripts == {"Latin": 5, "Cyrillic": 1}
    assert found.sides == {"width": [32, 32, 40], "height": [20, 32, 32]}
    assert found.words == [1, 2, 3]


def test_what_is_left_out_and_why(read):
    found = survey(read)
    assert counts(found.left_out) == {
        **{"empty_caption": 1, "empty_image": 1, "missing_file": 1, "not_an_image": 1}
    }
    assert sum(counts(found.left_out).values()) == found.rows - found.usable
    (gone,) = (one for one in found.left_out if one.what == "missing_file")
    assert gone.examples[0].startswith("row 9: ") and gone.examples[0].endswith("gone.jpg")


def test_doubts_and_duplicates(read):
    found = survey(read)
    assert counts(found.doubts) == {"a caption that is a file name": 1, "an image of one color": 1}
    assert counts(found.duplicates) == {
        "the image and the caption of an earlier row": 1,
        "the bytes of an earlier image, under another name": 1,
        "the caption of an earlier row, whose image is another": 1,
    }


def test_the_numbers_do_not_depend_on_the_threads(read):
    assert survey(read_data(read.samples, workers=1)) == survey(read)


def test_json(read):
    found = json.loads(json.dumps(as_json(survey(read))))
    assert found["rows"] == 10 and found["left_out"][0]["what"] == "empty_caption"


def test_shards_and_folders(tmp_path):
    members = {
        "0": sample(0),
        "1": {"txt": b"no image"},
        "2": {"jpg": picture(2)},
        "3": {"txt": b""},
    }
    write_tar(tmp_path / "a/0.tar", members)
    found = survey(read_data(open_samples(str(tmp_path / "a/0.tar"))))
    assert (found.rows, found.usable, found.shards) == (4, 1, 1)
    assert counts(found.left_out) == {"empty_caption": 2, "missing_image": 1}
    for name in ("cat/0.jpg", "dog/0.jpg", "dog/1.jpg"):
        (tmp_path / "b" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "b" / name).write_bytes(picture(len(name)))
    found = survey(read_data(open_samples(str(tmp_path / "b"))))
    assert (found.rows, found.usable, found.groups, found.contents) == (3, 3, 2, 1)
