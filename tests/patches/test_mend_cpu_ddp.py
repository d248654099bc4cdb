"""patches/0201: several processes train on the CPU."""

from tests.patches.runs import train

STEPS = (
    "--dataset-type",
    "synthetic",
    "--train-num-samples",
    "16",
    "--epochs",
    "1",
    "--log-every-n-steps",
    "1",
)


def test_two_processes(mended, tmp_path):
    ranks = mended.call(train, 2, str(tmp_path / "logs"), *STEPS)
    assert [status for status, _ in ranks] == [0, 0], ranks
    assert "Train Epoch: 0 [16/16 (100%)]" in ranks[0][1]


def test_unmended(plain, tmp_path):
    ranks = plain.call(train, 2, str(tmp_path / "logs"), *STEPS)
    assert [status for status, _ in ranks] == [1, 1]
    assert all("DistributedDataParallel device_ids" in output for _, output in ranks)
