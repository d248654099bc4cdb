"""The command's flags: what contradicts each other is refused, in the command's words."""

import json

import pytest

from hardpairs.cli.link import main
from hardpairs.core.errors import UserError
from tests.helpers import picture, write_tar
from tests.linking.stories import flags, write_news


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (("--im-wt", "2"), 2, "must be in [0, 1]"),
        (("--threshold", "0.2", "--opt-im-wt"), 2, "leave --opt-im-wt out"),
        (("--model", "x"), 2, "either --embeddings, or --model"),
        (("--csv-label-key", "nolabel"), 3, "no column 'nolabel'"),
        (
            ("--unlabelled", "999", *(f"s{i}" for i in range(30))),
            3,
            "0 labels of 0 rows to choose a threshold by",
        ),
        (("--csv-label-key", "image_path"), 3, "36 labels of 36 rows to choose a threshold by"),
        (("--val-share", "0.03"), 3, "1 labels of 3 rows to choose a threshold by"),
        (("--reference", "R", "--opt-im-wt"), 2, "--opt-im-wt is about clusters"),
        (("--reference", "R", "--compare"), 2, "--compare is about clusters"),
        (("--reference", "R", "--html", "page.html"), 2, "--html is about clusters"),
        (("--reference", "R", "--threshold", "0"), 2, "--threshold is about clusters"),
        (("--reference-data", "x.csv"), 2, "there is none"),
        (("--embeddings", "EMPTY"), 2, "no such folder"),
    ],
)
def test_wrong_input(tmp_path, more, code, says):
    folder, _ = write_news(tmp_path)
    with pytest.raises(UserError, match=None) as error:
        main(flags(folder, *(f"{folder}/nothing" if word == "EMPTY" else word for word in more)))
    assert error.value.code == code and says in error.value.text()


def test_images_alone_need_no_caption(tmp_path, capsys):
    members = {f"s{i}": {"cls": str(i % 2).encode(), "jpg": picture(i % 2)} for i in range(6)}
    shard = str(write_tar(tmp_path / "0.tar", members))
    model = (
        "--model",
        "hardpairs-test",
        "--pretrained",
        "none",
        "--threshold",
        "0.3",
        "--out",
        str(tmp_path / "out"),
    )
    assert main(["--data", shard, *model, "--im-wt", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["image_weight"] == 1
    assert len((tmp_path / "out/clusters.csv").read_text().splitlines()) == 7
    with pytest.raises(UserError, match="no sample of the shards can be used") as error:
        main(["--data", shard, *model, "--im-wt", "0.5"])
    assert error.value.code == 3
