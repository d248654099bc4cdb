"""Copies and clones of OpenCLIP as a user has them, and the patch command in this process."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hardpairs.cli import patch
from hardpairs.core.errors import run_command
from hardpairs.patching import series, targets
from hardpairs.patching.diff import PACKAGE

INSTALLED = Path(str(importlib.metadata.distribution("open_clip_torch").locate_file(PACKAGE)))


@dataclass(frozen=True)
class Result:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


def patch_command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Return ``hardpairs patch`` in this process, with the exit code its process would have."""

    def call(*argv: object) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run_command(lambda: patch.main([str(argument) for argument in argv]))
        return Result(int(stop.value.code or 0), *capsys.readouterr())

    return call


def make_copy(folder: Path, version: str = series.VERSIONS[0]) -> Path:
    """Make a plain copy of what the tool looks at in OpenCLIP; return the trainer's folder."""
    tree = folder / "src" / PACKAGE
    shutil.copytree(INSTALLED, tree, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "src" / "open_clip").mkdir()
    (folder / "src" / "open_clip" / "version.py").write_text(f"__version__ = '{version}'\n")
    return tree


def make_main(folder: Path, version: str = "4.2.0.dev0") -> Path:
    """Make what the tool looks at in OpenCLIP's main, of the lines that its patches change; return the trainer's folder."""
    tree = folder / "src" / PACKAGE
    (folder / "src" / "open_clip").mkdir(parents=True)
    (folder / "src" / "open_clip" / "version.py").write_text(f"__version__ = '{version}'\n")
    tree.mkdir()
    hunks = [hunk for patch in series.load_series(series.MAIN) for hunk in patch.hunks]
    for name in {hunk.file for hunk in hunks}:
        blocks = [b"\n".join(hunk.old) for hunk in hunks if hunk.file == name]
        text = b"\n# other lines\n".join(blocks) + b"\n# the last line\n"
        (tree / name).write_bytes(text)
    return tree


def git(folder: Path, *argv: str) -> str:
    identity = [
        "-c",
        "user.name=user",
        "-c",
        "user.email=user@example.org",
        "-c",
        "core.autocrlf=false",
    ]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *argv], check=True, capture_output=True, text=True
    ).stdout


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return every file under a folder by path, but for git's and Python's own."""
    files = (
        path
        for path in folder.rglob("*")
        if path.is_file() and not {".git", "__pycache__"} & set(path.parts)
    )
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def make_clone(folder: Path) -> Path:
    """Make a git clone with a commit of the user's own in two files that the series changes."""
    tree = make_copy(folder)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "OpenCLIP")
    edit(tree / "train.py", "Computes and stores the average", "Computes and keeps the average")
    edit(tree / "main.py", '"epoch_latest.pt"\n', '"epoch_latest.pt"\n# ours: one\n# ours: two\n')
    (tree / "our_tool.py").write_text("print('ours')\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "Local work")
    return folder


def generated_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the command makes its tree by default, away from this checkout's own."""
    folder = root / "repository" / "src" / PACKAGE
    folder.parent.mkdir(parents=True)
    monkeypatch.setattr(targets, "trainer_folder", lambda: folder)
    return folder


def download(folder: Path, *requirement: str) -> Path:
    """Return the content of a package from the package index; skip the test where there is none."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    if subprocess.run([*pip, "--dest", str(folder), *requirement], capture_output=True).returncode:
        pytest.skip("no package index here")
    (file,) = folder.iterdir()
    shutil.unpack_archive(file, folder / "unpacked", "zip" if file.suffix == ".whl" else None)
    return folder / "unpacked"
