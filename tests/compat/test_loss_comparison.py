"""The loss comparison's settings are presets."""

import pytest

from hardpairs.compat.loss_comparison import PRESETS
from tests.compat.parsing import training_args


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_parses(name):
    args = training_args("--preset", name)
    words = list(PRESETS[name])
    for flag in ("--loss-fn", "--lr", "--batch-size", "--epochs"):
        value = words[words.index(flag) + 1]
        assert str(getattr(args, flag[2:].replace("-", "_"))) in (
            value,
            str(float(value)) if value[0].isdigit() else value,
        )
    assert args.preset == name


def test_captions_of_its_clip_loss(tmp_path):
    """Of class folders alone: a table has captions of its own."""
    (tmp_path / "train/0").mkdir(parents=True)
    given = training_args("--preset", "lc-clip", "--train-data", str(tmp_path / "train"))
    assert given.caption_template == "a photo of class number {}"
    (tmp_path / "pairs.csv").write_text("filepath,title\n")
    table = str(tmp_path / "pairs.csv")
    assert training_args("--preset", "lc-clip", "--train-data", table).caption_template is None
    folder = str(tmp_path / "train")
    own = training_args("--preset", "lc-clip", "--train-data", folder, "--caption-template", "a {}")
    assert own.caption_template == "a {}"
