"""The end of MiniCLIP's command; tests/training/test_photos.py runs the whole."""

import numpy as np

from hardpairs.cli.train_results import training_history, write_results


def test_the_history_by_hand():
    """The second epoch has two logged steps, and a third epoch was not validated."""
    log = {"epoch": np.array([0, 1, 1, 2]), "loss": np.array([4.0, 3.0, 1.0, 0.5])}
    validation = [
        {"epoch": epoch, "clip_val_loss": 3.0 - epoch, "text_to_image_R@1": 0.25 * epoch}
        for epoch in (1, 2)
    ]
    assert training_history(log, validation) == {
        "epoch": [1, 2],
        "train_loss": [4.0, 2.0],
        "val_loss": [2.0, 1.0],
        "val_r1": [25.0, 50.0],
    }


def test_other_training_commands_end_as_they_are(capsys):
    write_results(["--train-data", "pairs.csv", "--name", "a", "--preset", "miniclip-lstm"])
    assert capsys.readouterr() == ("", "")
