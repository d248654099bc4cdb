"""The trainer's own errors as exit codes."""

import logging

import pytest

from hardpairs.cli.train import _tell_once, main
from hardpairs.core.errors import UserError
from tests.helpers import picture, run, sample, write_tar


@pytest.fixture(autouse=True)
def own_logging():
    """The trainer adds handlers to the root logger."""
    before, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = before
    logging.root.setLevel(level)


def test_shards_without_a_number_of_samples_are_a_usage_error(tmp_path):
    """Without flags of ours, OpenCLIP's data cannot count them."""
    write_tar(tmp_path / "0.tar", {f"{i:04d}": sample(i) for i in range(8)})
    model = ("--model", "hardpairs-test", "--device", "cpu", "--precision", "fp32")
    data = ("--train-data", f"{tmp_path}/0.tar", "--dataset-type", "webdataset")
    with pytest.raises(UserError, match="--train-num-samples") as error:
        main([*model, *data, "--batch-size", "4", "--workers", "0", "--logs", str(tmp_path)])
    assert error.value.code == 2


def _table(folder):
    """Write a table of eight images; return the flags that name it."""
    for i in range(8):
        (folder / f"{i}.jpg").write_bytes(picture(i))
    rows = "".join(f"{folder}/{i}.jpg,picture {i}\n" for i in range(8))
    (folder / "t.csv").write_text("filepath,title\n" + rows)
    return ("--train-data", f"{folder}/t.csv", "--csv-separator", ",")


def _shards(folder, samples=3, shards=1):
    for number in range(shards):
        write_tar(folder / f"{number}.tar", {f"{i:04d}": sample(i) for i in range(samples)})
    name = f"{folder}/0.tar" if shards == 1 else f"{folder}/{{0..{shards - 1}}}.tar"
    return ("--train-data", name, "--dataset-type", "webdataset", "--train-num-samples", "12")


def _missing_image(folder):
    flags = _table(folder)
    (folder / "3.jpg").unlink()
    return flags


def _no_image(folder):
    flags = _table(folder)
    (folder / "3.jpg").write_bytes(b"<html>")
    return flags


def _few_samples(folder):
    return _shards(folder)


def _cut_shard(folder):
    flags = _shards(folder, 8)
    path = folder / "0.tar"
    path.write_bytes(path.read_bytes()[:-2000])
    return flags


def _missing_shard(folder):
    flags = _shards(folder, 8, shards=2)
    (folder / "1.tar").unlink()
    return flags


def _no_tar(folder):
    flags = _shards(folder, 8)
    (folder / "0.tar").write_bytes(b"<html>" * 500)
    return flags


FAULTS = {
    _missing_image: (3, "3.jpg cannot be read as an image"),
    _no_image: (3, "3.jpg cannot be read as an image"),
    _few_samples: (3, "do not fill one batch"),
    _cut_shard: (3, "0.tar"),
    _missing_shard: (3, "1.tar"),
    _no_tar: (3, "0.tar"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_fault_has_one_outcome_whatever_the_workers(tmp_path, fault, workers):
    code, says = FAULTS[fault]
    done = _train(tmp_path, fault(tmp_path), workers)
    assert done.returncode == code and says in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_more_workers_than_shards(tmp_path):
    done = _train(tmp_path, _shards(tmp_path, 8), 2)
    assert done.returncode == 2 and "number of shards must be >= total workers" in done.stderr


def _train(folder, data, workers):
    model = ("--model", "hardpairs-test", "--device", "cpu", "--precision", "fp32")
    more = ("--batch-size", "4", "--workers", str(workers), "--epochs", "1", "--logs", f"{folder}")
    return run("python", "-m", "training.main", *model, *data, *more)


def test_a_log_on_a_full_disk_is_told_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(logging.FileHandler, "handleError", _tell_once)
    log = logging.FileHandler("/dev/full")
    logging.root.addHandler(log)
    for number in range(3):
        logging.warning(f"line {number}")
    logging.root.removeHandler(log)
    log.stream = None
    assert capsys.readouterr().err == "warning: /dev/full ends here: No space left on device\n"
