"""The command's flags: what cannot work is refused before any data is read."""

import pytest

from hardpairs.cli.compare import main
from hardpairs.core.errors import UserError
from tests.comparing.made import argv


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--losses", "nothing"), "no loss is called nothing"),
        (("--losses", ","), "no loss is called"),
        (("--steps", "5"), "--steps 4"),
        (("--batch-size", "15"), "whole groups of 2"),
        (("--losses", "helip"), "hard-pair batches"),
        (("--flags", "triplet:--head-lr 1"), "no loss is called triplet"),
    ],
)
def test_wrong_command_lines(tmp_path, more, says):
    (tmp_path / "data").mkdir()
    (tmp_path / "start/checkpoints").mkdir(parents=True)
    (tmp_path / "start/checkpoints/epoch_1.pt").touch()
    with pytest.raises(UserError, match=says) as error:
        main(argv(tmp_path, tmp_path, *more))
    assert error.value.code == 2


def test_a_model_without_weights(tmp_path):
    flags = ("--out", str(tmp_path / "out"), "--model", "ViT-B-32")
    with pytest.raises(UserError, match="--model ViT-B-32 needs its weights") as error:
        main([str(tmp_path), *flags])
    assert error.value.code == 2
