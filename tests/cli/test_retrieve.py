"""The command line of hardpairs retrieve."""

from __future__ import annotations

import json

import pytest

from hardpairs.cli.retrieve import main
from hardpairs.core.errors import UserError
from tests.helpers import picture, write_tar


@pytest.fixture
def flags(tmp_path):
    """The flags that search four pictures of two classes among themselves."""
    for i in range(4):
        path = tmp_path / f"gallery/class{i % 2}/{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i))
    folder = str(tmp_path / "gallery")
    model = ("--model", "hardpairs-test", "--pretrained", "none", "--workers", "0")
    return ["--query", folder, "--gallery", folder, *model, "--out", str(tmp_path / "out")]


def test_score_weights_and_a_submission(flags, tmp_path, capsys):
    assert main([*flags, "--score-weights", "1", "0", "0", "--groupname", "us", "--k", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == 1
    images = json.loads((tmp_path / "out/retrieved.json").read_text())
    assert {name: nearest[0] for name, nearest in images.items()} == {
        f"{i}.jpg": f"{i}.jpg" for i in range(4)
    }
    submission = json.loads((tmp_path / "out/submission.json").read_text())
    assert submission == {"groupname": "us", "images": images}


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--query", "nowhere"), 2, "no such file or folder"),
        (("--model", "NoModel"), 2, "unknown model"),
        (("--pretrained", "no.pt"), 2, "no such checkpoint"),
    ],
)
def test_wrong_input(flags, more, code, says):
    with pytest.raises(UserError) as error:
        main([*flags, *more])
    assert error.value.code == code and says in error.value.text()


def test_shards_of_images_and_classes_need_no_caption(flags, tmp_path, capsys):
    """As CLIP_benchmark exports CIFAR-10."""
    members = {f"s{i}": {"cls": str(i % 2).encode(), "jpg": picture(i)} for i in range(4)}
    shard = str(write_tar(tmp_path / "shards/0.tar", members))
    assert main([*flags, "--query", shard, "--gallery", shard]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["queries"] == numbers["gallery"] == 4 and "unreadable" not in numbers
