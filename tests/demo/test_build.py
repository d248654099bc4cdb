"""The folder of demonstration data: made once, started over, and never somebody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hardpairs.core.errors import Exit, UserError
from hardpairs.demo import pairs as pairs_module
from hardpairs.demo.pairs import build_pairs
from tests.demo.made import contents, scene_options
from tests.helpers import ROOT, listen_to_ctrl_c


def test_finished_data_is_not_made_again(tmp_path: Path) -> None:
    assert build_pairs(tmp_path, scene_options())
    assert not build_pairs(tmp_path, scene_options())


def test_other_options_in_the_same_folder_are_refused_and_force_replaces(tmp_path: Path) -> None:
    build_pairs(tmp_path, scene_options())
    with pytest.raises(UserError, match="`pairs` 30, asked 31") as caught:
        build_pairs(tmp_path, scene_options(pairs=31))
    assert caught.value.code == Exit.MISMATCH and "`force`" in caught.value.fix
    assert build_pairs(tmp_path, scene_options(pairs=31), force=True)


def test_a_missing_picture_is_noticed(tmp_path: Path) -> None:
    build_pairs(tmp_path, scene_options())
    next((tmp_path / "images/val").iterdir()).unlink()
    with pytest.raises(UserError, match="missing or changed") as caught:
        build_pairs(tmp_path, scene_options())
    assert caught.value.code == Exit.MISMATCH


def test_an_interrupted_run_is_started_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pairs_module, "_write_tables", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build_pairs(tmp_path, scene_options())
    assert not (tmp_path / "manifest.json").exists()
    assert build_pairs(tmp_path, scene_options())
    assert not (tmp_path / "unfinished.json").exists()


def test_ctrl_c_leaves_one_message_and_the_same_command_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.demo_data", "--out", str(tmp_path), "--pairs", "15344"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=listen_to_ctrl_c,
    )
    while not (tmp_path / "images/train").is_dir() or not any(
        (tmp_path / "images/train").iterdir()
    ):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    message = process.communicate(timeout=120)[1]
    assert process.returncode == Exit.INTERRUPTED
    assert "interrupted" in message and "Traceback" not in message
    assert build_pairs(tmp_path, scene_options())  # ours, unfinished: started over


def test_a_folder_that_somebody_else_filled_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "holiday.jpg").write_bytes(b"mine")
    for force in (False, True):
        with pytest.raises(UserError) as caught:
            build_pairs(tmp_path, scene_options(), force=force)
        assert caught.value.code == Exit.BAD_INPUT
    assert contents(tmp_path) == {"images/holiday.jpg": b"mine"}
