"""patches/0208, 0209 and 0210: checkpoints are whole, can be resumed, run no code, and the newest whole one is found."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.patches.runs import train

SHORT = ("--dataset-type", "synthetic", "--train-num-samples", "16", "--epochs", "1")


def save(path: str, epoch: int, size: int = 1000) -> None:
    import torch

    torch.save(
        {
            "epoch": epoch,
            "name": "run",
            "state_dict": {"weight": torch.arange(size)},
            "optimizer": {},
        },
        path,
    )


def save_limited(saver: str, path: str, limit: int, kill: bool) -> tuple[int, list[str]]:
    """Saves in a child that may write so many bytes; at the next it is killed, or told that the disk is full.

    Returns:
        How the child ended, and the files in the folder.
    """
    import resource

    import torch
    from open_clip_train import file_utils

    child = os.fork()
    if child == 0:
        if kill:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            (torch.save if saver == "torch.save" else file_utils.pt_save)(
                {"weight": torch.arange(1000)}, path
            )
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, sorted(os.listdir(Path(path).parent))


def latest(folder: str) -> tuple[str | None, list[str]]:
    """The checkpoint that --resume latest takes, and the warnings."""
    from open_clip_train.main import get_latest_checkpoint

    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.root.addHandler(handler)
    try:
        found = get_latest_checkpoint(folder, remote=False)
    finally:
        logging.root.removeHandler(handler)
    return found and Path(found).name, messages


def load(path: str, environment: dict[str, str]) -> object:
    from open_clip_train.file_utils import pt_load

    os.environ.update(environment)
    try:
        return pt_load(path, map_location="cpu")["epoch"]
    finally:
        for name in environment:
            del os.environ[name]


@pytest.fixture
def folder(mended, tmp_path) -> Path:
    """Checkpoints of two epochs."""
    path = tmp_path / "run" / "checkpoints"
    path.mkdir(parents=True)
    for epoch in (1, 2):
        mended.call(save, str(path / f"epoch_{epoch}.pt"), epoch)
    return path


# 0208: saving


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "disk full"])
def test_kill_while_saving(mended, tmp_path, kill):
    path = tmp_path / "run" / "epoch_1.pt"
    path.parent.mkdir()
    mended.call(save, str(path), 1)
    size, before = path.stat().st_size, path.read_bytes()
    for limit in range(0, size - 600, size // 20):
        status, files = mended.call(save_limited, "pt_save", str(path), limit, kill)
        assert status == (-signal.SIGXFSZ if kill else 1)
        assert path.read_bytes() == before and set(files) <= {"epoch_1.pt", "epoch_1.pt.tmp"}
    assert mended.call(save_limited, "pt_save", str(path), 10 * size, kill) == (0, ["epoch_1.pt"])


def test_kill_while_saving_unmended(plain, tmp_path):
    path = tmp_path / "run" / "epoch_1.pt"
    path.parent.mkdir()
    plain.call(save, str(path), 1)
    assert plain.call(save_limited, "torch.save", str(path), 3000, True) == (
        -signal.SIGXFSZ,
        ["epoch_1.pt"],
    )
    assert path.stat().st_size <= 3000


@pytest.mark.parametrize(
    "flags", [(), ("--save-most-recent", "--save-frequency", "0", "--epochs", "2")]
)
def test_the_trainer_saves_that_way(mended, plain, tmp_path, flags):
    """A run that is killed in the middle of its first checkpoint leaves no torn file under a checkpoint's name."""
    for copy, names in (
        (plain, {"epoch_1.pt", "tmp.pt"}),
        (mended, {"epoch_1.pt.tmp", "epoch_latest.pt.tmp"}),
    ):
        logs = tmp_path / copy.source.name
        logs.mkdir()
        [(status, output)] = copy.call(run_limited, str(logs / "logs"), [*SHORT, *flags])
        assert status == -signal.SIGXFSZ, output
        files = {path.name for path in (logs / "logs" / "run" / "checkpoints").iterdir()}
        assert files and files <= names


def run_limited(logs: str, argv: list[str]) -> list[tuple[int | None, str]]:
    return train(1, logs, *argv, file_limit=200_000)


# 0209: loading


def test_a_run_resumes(mended, tmp_path):
    logs = str(tmp_path / "logs")
    assert mended.call(train, 1, logs, *SHORT)[0][0] == 0
    [(status, output)] = mended.call(train, 1, logs, *SHORT, "--epochs", "2", "--resume", "latest")
    assert status == 0 and "resuming checkpoint" in output and "Start epoch 1" in output


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.path,)


def save_canary(path: str, canary: str) -> None:
    import torch

    torch.save({"epoch": Canary(Path(canary))}, path)


UNSAFE = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}


@pytest.mark.parametrize("environment", [{}, UNSAFE], ids=["as it is", "told to load anything"])
def test_a_checkpoint_runs_no_code(mended, tmp_path, environment):
    mended.call(save_canary, str(tmp_path / "epoch_1.pt"), str(tmp_path / "ran"))
    with pytest.raises(Exception, match="Weights only load failed"):
        mended.call(load, str(tmp_path / "epoch_1.pt"), environment)
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_runs_code_unmended(plain, tmp_path):
    plain.call(save_canary, str(tmp_path / "epoch_1.pt"), str(tmp_path / "ran"))
    plain.call(load, str(tmp_path / "epoch_1.pt"), UNSAFE)
    assert (tmp_path / "ran").exists()


# 0210: resuming


def test_latest_is_the_newest_complete_one(mended, plain, folder):
    assert mended.call(latest, str(folder)) == ("epoch_2.pt", [])
    torn = (folder / "epoch_2.pt").read_bytes()[:2000]
    (folder / "epoch_10.pt").write_bytes(torn)
    (folder / "epoch_9.pt").write_bytes(b"")
    found, messages = mended.call(latest, str(folder))
    assert found == "epoch_2.pt" and len(messages) == 2
    assert "epoch_10.pt" in messages[0] and "epoch_9.pt" in messages[1]
    assert plain.call(latest, str(folder))[0] == "epoch_10.pt"


def test_flipped_bits(mended, folder):
    content = bytearray((folder / "epoch_2.pt").read_bytes())
    content[len(content) // 2] ^= 4  # in the weights
    (folder / "epoch_2.pt").write_bytes(bytes(content))
    found, messages = mended.call(latest, str(folder))
    assert found == "epoch_1.pt" and "epoch_2.pt" in messages[0]


@pytest.mark.parametrize(
    ("epoch", "expected"), [(1, "epoch_2.pt"), (2, "epoch_latest.pt"), (3, "epoch_latest.pt")]
)
def test_epoch_latest_counts_by_its_epoch(mended, folder, epoch, expected):
    mended.call(save, str(folder / "epoch_latest.pt"), epoch)
    assert mended.call(latest, str(folder))[0] == expected


def test_other_files_do_not_count(mended, plain, folder):
    for name in ("tmp.pt", "epoch_5_old.pt", "best.pt", "epoch_7.pt.tmp"):
        shutil.copy(folder / "epoch_1.pt", folder / name)
    sibling = folder.with_name("checkpoints_old")
    sibling.mkdir()
    shutil.copy(folder / "epoch_1.pt", sibling / "epoch_99.pt")
    found, messages = mended.call(latest, str(folder))
    assert (found, messages) == ("epoch_2.pt", [])
    assert plain.call(latest, str(folder))[0] == "epoch_99.pt"


@pytest.mark.parametrize(("epoch", "expected"), [(1, "epoch_2.pt"), (3, "best.pt")])
def test_the_best_epoch_counts_by_its_number(mended, folder, epoch, expected):
    mended.call(save, str(folder / "best.pt"), epoch)
    assert mended.call(latest, str(folder)) == (expected, [])
    for file in folder.glob("epoch_*.pt"):
        file.unlink()
    assert mended.call(latest, str(folder)) == ("best.pt", [])


def test_no_checkpoint_yet(mended, folder):
    for file in folder.iterdir():
        file.rename(file.with_suffix(".pt.tmp"))
    assert mended.call(latest, str(folder)) == (None, [])


def test_a_folder_name_is_no_pattern(mended, folder):
    odd = folder.with_name("a[1]*")
    folder.rename(odd)
    assert mended.call(latest, str(odd))[0] == "epoch_2.pt"


def test_none_complete_is_no_fresh_start(mended, folder):
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes()[:1500])
    with pytest.raises(RuntimeError, match="No checkpoint in .* is complete"):
        mended.call(latest, str(folder))


def test_save_most_recent_looks_at_all(mended, tmp_path):
    """A torn epoch_latest.pt, as an older run may have left it: the run goes on from epoch_1.pt."""
    logs = tmp_path / "logs"
    assert mended.call(train, 1, str(logs), *SHORT)[0][0] == 0
    (logs / "run" / "checkpoints" / "epoch_latest.pt").write_bytes(b"PK")
    flags = ("--epochs", "2", "--resume", "latest", "--save-most-recent")
    [(status, output)] = mended.call(train, 1, str(logs), *SHORT, *flags)
    assert status == 0 and "Ignoring" in output and "epoch_1.pt' (epoch 1)" in output


def test_mistyped_path(mended, tmp_path):
    [(status, output)] = mended.call(
        train, 1, str(tmp_path / "logs"), *SHORT, "--resume", "lastest"
    )
    assert status == 1 and "there is no checkpoint lastest" in output
    assert not (
        tmp_path / "logs"
    ).exists()  # so that the same command, well typed, is not told that the run exists already
