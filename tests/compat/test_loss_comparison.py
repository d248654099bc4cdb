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
