"""patches/0212: a run that fails says so by its exit status, on every rank."""

from __future__ import annotations

from tests.patches.runs import train

ONE_EPOCH = ("--dataset-type", "synthetic", "--train-num-samples", "16", "--epochs", "1")


def test_all_ranks(mended, tmp_path):
    (tmp_path / "logs" / "run").mkdir(parents=True)
    (tmp_path / "logs" / "run" / "out.log").write_text("the run of before\n")
    ranks = mended.call(train, 2, str(tmp_path / "logs"), *ONE_EPOCH)
    assert [status for status, _ in ranks] == [2, 2]
    assert "Experiment already exists" in ranks[0][1]
    assert (tmp_path / "logs" / "run" / "out.log").read_text() == "the run of before\n"


def test_unmended(plain, tmp_path):
    """The master goes with status 0; the other one only notices when its connection breaks, or never."""
    (tmp_path / "logs" / "run").mkdir(parents=True)
    (tmp_path / "logs" / "run" / "out.log").write_text("the run of before\n")
    ranks = plain.call(train, 2, str(tmp_path / "logs"), *ONE_EPOCH)
    assert ranks[0][0] == 0 and ranks[1][0] != 0


def test_flags_that_do_not_go_together(mended, plain, tmp_path):
    flags = ("--resume", "latest", "--remote-sync", "s3://nowhere", "--save-most-recent")
    assert mended.call(train, 1, str(tmp_path / "logs"), *ONE_EPOCH, *flags)[0][0] == 2
    assert plain.call(train, 1, str(tmp_path / "logs"), *ONE_EPOCH, *flags)[0][0] == 0


def test_remote_sync_that_fails(mended, tmp_path):
    """Onto a file, where no folder can be made."""
    (tmp_path / "file").write_text("")
    flags = ("--remote-sync", str(tmp_path / "file" / "x"), "--remote-sync-protocol", "fsspec")
    ranks = mended.call(train, 2, str(tmp_path / "logs"), *ONE_EPOCH, *flags)
    assert [status for status, _ in ranks] == [1, 1], ranks
