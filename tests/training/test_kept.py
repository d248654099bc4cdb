"""Which checkpoints of whole epochs stay."""

import os

from hardpairs.training.kept import keep_newest


def test_the_newest_epochs_stay(tmp_path):
    others = {"best.pt", "epoch_latest.pt", "ema.pt"}
    for name in (*others, *(f"epoch_{number}.pt" for number in (2, 9, 10, 11))):
        (tmp_path / name).touch()
    keep_newest(tmp_path, None)
    assert len(os.listdir(tmp_path)) == 7
    keep_newest(tmp_path, 2)
    assert {*os.listdir(tmp_path)} == others | {"epoch_10.pt", "epoch_11.pt"}
