"""patches/0213 and 0214: zero-shot accuracy with any numpy, and an epoch is saved before it is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.patches.runs import train


def accuracy() -> list[float]:
    import torch
    from open_clip_train import zero_shot

    output = torch.tensor([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3]])
    return zero_shot.accuracy(output, torch.tensor([1, 1, 0]), topk=(1, 2))


def test_accuracy(mended):
    assert mended.call(accuracy) == [1.0, 2.0]


def test_accuracy_unmended(plain):
    """From numpy 2.4 on."""
    import numpy

    if numpy.lib.NumpyVersion(numpy.__version__) >= "2.4.0":
        with pytest.raises(TypeError, match="0-dimensional"):
            plain.call(accuracy)
    else:
        assert plain.call(accuracy) == [1.0, 2.0]


def run_with_a_failing_evaluation(logs: str, table: str) -> tuple[int | None, str]:
    """A run of one epoch whose evaluation fails."""
    from open_clip_train import main

    def fail(*_: object, **__: object) -> None:
        raise MemoryError("no room for the features")

    evaluate, main.evaluate = main.evaluate, fail
    try:
        flags = ("--dataset-type", "csv", "--csv-separator", ",", "--epochs", "1")
        return train(1, logs, *flags, "--train-data", table, "--val-data", table)[0]
    finally:
        main.evaluate = evaluate


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Eight pictures with texts."""
    from tests.helpers import picture

    for i in range(8):
        (tmp_path / f"{i}.jpg").write_bytes(picture(i))
    (tmp_path / "table.csv").write_text(
        "filepath,title\n" + "".join(f"{tmp_path}/{i}.jpg,picture {i}\n" for i in range(8))
    )
    return str(tmp_path / "table.csv")


def test_a_failing_evaluation_keeps_the_epoch(mended, table, tmp_path):
    status, output = mended.call(run_with_a_failing_evaluation, str(tmp_path / "logs"), table)
    assert status == 1 and "no room for the features" in output
    assert (tmp_path / "logs/run/checkpoints/epoch_1.pt").is_file()


def test_a_failing_evaluation_unmended(plain, table, tmp_path):
    status, _ = plain.call(run_with_a_failing_evaluation, str(tmp_path / "logs"), table)
    assert status == 1
    assert not (tmp_path / "logs/run/checkpoints/epoch_1.pt").exists()
