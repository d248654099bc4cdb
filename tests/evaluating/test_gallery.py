"""tools.retrieve as a command, on folders of pictures."""

import json

import pytest

from hardpairs.cli.retrieve import main
from hardpairs.core.errors import UserError
from tests.helpers import picture, sample, write_tar


@pytest.fixture
def folders(tmp_path):
    """Six queries of three classes, and a gallery that holds the very same pictures, others, and one that is none."""
    for i in range(6):
        for side in ("query", "gallery"):
            path = tmp_path / side / f"class{i % 3}" / f"{side}{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(i))
    for i in range(6, 11):
        (tmp_path / f"gallery/class{i % 3}/gallery{i}.jpg").write_bytes(picture(i))
    (tmp_path / "gallery/class0/broken.jpg").write_bytes(b"<html>")
    return tmp_path


def flags(folder, *more):
    return [
        "--query",
        f"{folder}/query",
        "--gallery",
        f"{folder}/gallery",
        "--model",
        "hardpairs-test",
        "--pretrained",
        "none",
        "--out",
        f"{folder}/out",
        "--workers",
        "0",
        *more,
    ]


def test_every_gallery_picture_counts(folders, capsys):
    assert main(flags(folders, "--k", "3", "--groupname", "us")) == 0
    told = json.loads(capsys.readouterr().out)
    found = json.loads((folders / "out/retrieved.json").read_text())
    assert {name: names[0] for name, names in found.items()} == {
        f"query{i}.jpg": f"gallery{i}.jpg" for i in range(6)
    }
    assert all(len(set(names)) == 3 for names in found.values())
    assert (
        told["top-1"] == 1 and told["gallery"] == 11 and told["unreadable"] == {"not_an_image": 1}
    )
    assert told["score"] == 600 + 300 * told["top-5"] + 100 * told["top-10"]
    assert json.loads((folders / "out/submission.json").read_text()) == {
        "groupname": "us",
        "images": found,
    }
    first = (folders / "out/retrieved.json").read_bytes()
    assert (
        main(flags(folders, "--k", "3", "--metric", "euclidean", "--score-weights", "1", "0", "0"))
        == 0
    )
    assert (folders / "out/retrieved.json").read_bytes() == first and json.loads(
        capsys.readouterr().out
    )["score"] == 1


def test_without_labels_there_are_lists_and_no_numbers(folders, capsys):
    for path in sorted((folders / "query").rglob("*.jpg")):
        path.rename(folders / "query" / path.name)
    for place in (folders / "query").iterdir():
        if place.is_dir():
            place.rmdir()
    assert main(flags(folders)) == 0
    assert json.loads(capsys.readouterr().out) == {
        "queries": 6,
        "gallery": 11,
        "unreadable": {"not_an_image": 1},
    }
    assert not (folders / "out/retrieval.json").exists()


def test_shards_with_equal_keys_lose_nobody(tmp_path, capsys):
    for shard in range(2):
        write_tar(
            tmp_path / f"shards/{shard:05d}.tar",
            {f"{i:03d}": sample(4 * shard + i) for i in range(4)},
        )
    place = f"{tmp_path}/shards"
    assert main(flags(tmp_path, "--query", place, "--gallery", place, "--k", "8")) == 0
    found = json.loads((tmp_path / "out/retrieved.json").read_text())
    names = [f"{shard:05d}/{i:03d}" for shard in range(2) for i in range(4)]
    assert json.loads(capsys.readouterr().out)["queries"] == 8 and list(found) == names
    assert all(sorted(answers) == names and answers[0] == name for name, answers in found.items())


@pytest.mark.parametrize("side", ["--query", "--gallery"])
def test_a_picture_in_several_rows_is_refused(folders, side):
    rows = [f"{folders}/query/class{i}/query{i}.jpg,picture {i}" for i in range(3)]
    rows.append(rows[0] + " again")
    (folders / "table.csv").write_text("filepath,title\n" + "\n".join(rows) + "\n")
    with pytest.raises(UserError, match=r"2 rows are the image .*query0\.jpg") as error:
        main(flags(folders, side, f"{folders}/table.csv"))
    assert error.value.code == 3 and "table.csv" in error.value.text()
