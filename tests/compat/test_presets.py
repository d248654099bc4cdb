"""What a preset stands for, and what it leaves out beside other flags."""

import pytest

from hardpairs import compat
from hardpairs.core.errors import UserError
from tests.compat.parsing import training_args


@pytest.mark.parametrize(
    ("line", "absent", "present"),
    [
        ("--preset clippings-supcon --loss-fn contrastive", "--metric-temperature", "--im-wt"),
        ("--preset clippings-supcon --loss-fn clip_ce", "--embed", "--batching"),
        ("--preset clippings-supcon --embed mlp", "--im-wt", "--metric-temperature"),
        ("--preset clippings-supcon --batching random", "--m-per-class", "--im-wt"),
        ("--preset clippings-supcon --batching class-neighbours", None, "--m-per-class"),
        ("--preset clippings-supcon --use-hard", "--batching", "--loss-fn"),
        ("--preset clippings-supcon --warmup-epochs 1", "--warmup", "--lr"),
        ("--preset miniclip-lstm --warmup 3", "--warmup-epochs", "--lr"),
        ("--preset lc-triplet --projection 0", "--head-dropout", "--freeze-backbone"),
        ("--preset lc-triplet --no-freeze-backbone", "--freeze-backbone", "--projection"),
        ("--preset lc-arcface --loss-fn triplet", "--metric-scale", "--metric-margin"),
    ],
)
def test_what_a_preset_leaves_out(line, absent, present):
    argv = compat.translate("train", line.split())[0]
    assert absent not in argv[: argv.index("--preset")]
    assert present in argv[: argv.index("--preset")]


@pytest.mark.parametrize("name", compat.PRESETS)
def test_every_preset(name):
    """Alone, it is given as it stands in its table, but for options of losses not chosen."""
    argv, _ = compat.translate("train", ["--preset", name])
    words = compat.PRESETS[name]
    if name == "clipse":
        words = words[: words.index("--sanw-alpha")]
    assert argv == [*words, "--preset", name]
    assert training_args("--preset", name).preset == name


def test_an_unknown_preset():
    with pytest.raises(UserError, match="there is no preset 'x'"):
        compat.translate("train", ["--preset", "x"])
