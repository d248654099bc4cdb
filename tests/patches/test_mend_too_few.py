"""patches/0207: too few samples for one step is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import sample, write_tar


def arguments(**values: object):
    from open_clip_train.params import parse_args

    args = parse_args(["--workers", "0"])
    defaults = {"distributed": False, "world_size": 1, "rank": 0, "batch_size": 4}
    for name, value in (defaults | values).items():
        assert hasattr(args, name) or name in defaults
        setattr(args, name, value)
    return args


def csv_batches(file: str, **values: object) -> int:
    from open_clip_train.data import get_csv_dataset

    args = arguments(train_data=file, **values)
    return get_csv_dataset(args, None, is_train=True, tokenizer=None).dataloader.num_batches


def shard_batches(file: str, **values: object) -> tuple[int, int]:
    """Batches that are announced for an epoch, and those that come."""
    from open_clip_train.data import get_wds_dataset
    from torchvision.transforms import PILToTensor

    args = arguments(train_data=file, **values)
    loader = get_wds_dataset(
        args, PILToTensor(), is_train=True, tokenizer=lambda text: [len(text)]
    ).dataloader
    return loader.num_batches, sum(1 for _ in loader)


def table(tmp_path: Path, rows: int) -> str:
    (tmp_path / "pairs.csv").write_text(
        "filepath\ttitle\n" + "".join(f"{i}.jpg\tnumber {i}\n" for i in range(rows))
    )
    return str(tmp_path / "pairs.csv")


def shard(tmp_path: Path, samples: int) -> str:
    write_tar(tmp_path / "0.tar", {f"{i:04d}": sample(i) for i in range(samples)})
    return str(tmp_path / "0.tar")


@pytest.mark.parametrize(
    ("rows", "values"), [(3, {}), (11, {"world_size": 3}), (7, {"accum_freq": 2})]
)
def test_csv(mended, plain, tmp_path, rows, values):
    call = (csv_batches_with, table(tmp_path, rows), values)
    with pytest.raises(
        ValueError, match=f"{rows} training samples are fewer than the {rows + 1} of one step"
    ):
        mended.call(*call)
    assert plain.call(*call) // values.get("accum_freq", 1) == (
        0 if "world_size" not in values else 2
    )
    assert mended.call(csv_batches_with, table(tmp_path, rows + 1), values) > 0


def csv_batches_with(file: str, values: dict[str, object]) -> int:
    return csv_batches(file, **values)


def shard_batches_with(file: str, values: dict[str, object]) -> tuple[int, int]:
    return shard_batches(file, **values)


def test_webdataset(mended, tmp_path):
    file = shard(tmp_path, 7)
    with pytest.raises(ValueError, match="7 training samples are fewer than the 8"):
        mended.call(shard_batches_with, file, {"train_num_samples": 7, "world_size": 2})
    assert mended.call(shard_batches_with, file, {"train_num_samples": 7}) == (2, 2)


def test_a_worker_without_a_full_batch(mended, tmp_path):
    with pytest.raises(ValueError, match="do not fill one batch"):
        mended.call(shard_batches_with, shard(tmp_path, 3), {"train_num_samples": 40})
