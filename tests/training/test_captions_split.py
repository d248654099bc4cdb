"""What of a run's data OpenCLIP cannot read, and the split of a captions.json."""

import json

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from hardpairs.training.captions_split import is_ours_to_read, split_captions
from tests.helpers import picture


@pytest.fixture
def captions(tmp_path):
    """Captions of 20 images; the last two images look alike."""
    (tmp_path / "images").mkdir()
    for number in range(20):
        content = picture(min(number, 18))
        (tmp_path / f"images/{number}.jpg").write_bytes(content)
    entries = [{"file_name": f"{n}.jpg", "caption": f"thing {n}"} for n in range(20)]
    (tmp_path / "captions.json").write_text(json.dumps(entries))
    return tmp_path / "captions.json"


def test_what_is_ours_to_read(captions):
    assert is_ours_to_read(str(captions)) and is_ours_to_read(str(captions.parent / "images"))
    assert not is_ours_to_read("") and not is_ours_to_read("pairs.csv")
    tars = captions.parent / "tars"
    tars.mkdir()
    (tars / "00000.tar").write_bytes(b"")
    assert is_ours_to_read(str(tars)) and not is_ours_to_read(f"{tars}/00000.tar")
    table = captions.parent / "pairs.csv"
    table.write_text("filepath,title\nimages/0.jpg,a .tar/ file\n")
    assert is_ours_to_read(str(table))  # a caption like that is rare, and ours to read as well
    table.write_text("filepath,title\nimages/0.jpg,thing 0\ntars/00000.tar/1,thing 1\n")
    assert not is_ours_to_read(str(table))
    table.write_text("filepath,title\ntars/00000.tar/000000001.jpg,thing 1\n")
    assert is_ours_to_read(str(table))
    with pytest.raises(UserError, match=r"`dataset_type` captions-json is for a \.json file"):
        is_ours_to_read("pairs.csv", "captions-json")


def test_a_split_is_made_once(captions, tmp_path, capsys):
    split = split_captions(str(captions), tmp_path / "split")
    assert split.is_new and "look alike" in capsys.readouterr().err
    parts = [set(open_samples(split.table(name)).captions) for name in ("train", "val")]
    assert parts[0] and parts[1] and not parts[0] & parts[1]
    assert sum({"thing 18", "thing 19"} <= part for part in (*parts, _rest(parts))) == 1
    again = split_captions(str(captions), tmp_path / "split", verbose=False)
    assert not again.is_new and not capsys.readouterr().err


def _rest(parts):
    return {f"thing {number}" for number in range(20)} - parts[0] - parts[1]
