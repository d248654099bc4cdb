"""Copies of OpenCLIP's training code, as it is, mended and patched, each imported in a process of its own that tests send functions to."""

from __future__ import annotations

import concurrent.futures
import importlib.metadata
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hardpairs.cli import patch as apply_patches
from hardpairs.patching.diff import PACKAGE

SITE = Path(str(importlib.metadata.distribution("open_clip_torch").locate_file("")))
OTHER = os.environ.get(
    "HARDPAIRS_TEST_OPENCLIP"
)  # a folder with another version's open_clip and open_clip_train


REPLACED = ("hardpairs", PACKAGE, "open_clip", "training", "tests")
"""Packages that a copy imports anew."""


class Copy:
    """A copy of ``open_clip_train`` and a process in which it is the one that is imported."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        self.process = concurrent.futures.ProcessPoolExecutor(
            1, context, initializer=_import_from, initargs=(str(self.source),)
        )

    def call(self, function: Callable[..., Any], *args: Any, timeout: float = 300) -> Any:
        """Result of a function of a test file, run where this copy is imported; its exception is raised here.

        Raises:
            TimeoutError: when it takes longer; its process is killed.
        """
        future = self.process.submit(_quiet, function, *args)
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError:
            self.close()
            self._start()
            raise TimeoutError(f"{function.__name__} took longer than {timeout} s") from None

    def close(self) -> None:
        for process in list(self.process._processes.values()):
            process.kill()
        self.process.shutdown(wait=False, cancel_futures=True)


def _import_from(source: str) -> None:
    sys.path.insert(0, source)
    # The fork has imported the checkout's packages; a patched copy has its own beside it.
    for name in [name for name in sys.modules if name.split(".")[0] in REPLACED]:
        del sys.modules[name]
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    multiprocessing.set_start_method(
        "fork", force=True
    )  # of the loader's workers, as on any Linux until Python 3.14
    import torch

    torch.set_num_threads(1)  # a forked child of a process with OpenMP threads hangs
    import open_clip_train.main

    assert Path(open_clip_train.main.__file__).is_relative_to(source)


def _quiet(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except SystemExit as stop:  # it would end the process pool
        raise RuntimeError(f"SystemExit({stop.code})") from stop


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """OpenCLIP as it is installed."""
    yield from make_copy(tmp_path_factory.mktemp("plain"), "none")


@pytest.fixture(scope="session")
def mended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """OpenCLIP with the mends and no hooks: what could be sent upstream."""
    yield from make_copy(tmp_path_factory.mktemp("mended"), "mends")


@pytest.fixture(scope="session")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """OpenCLIP with the whole series and our packages beside it."""
    yield from make_copy(tmp_path_factory.mktemp("patched"), "all")


@pytest.fixture(scope="session")
def plain_main(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """OpenCLIP's main as it is."""
    yield from make_copy(tmp_path_factory.mktemp("plain-main"), "none", main_source())


@pytest.fixture(scope="session")
def mended_main(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """OpenCLIP's main with the mends for it and no hooks: what is offered upstream."""
    yield from make_copy(tmp_path_factory.mktemp("mended-main"), "mends", main_source())


@pytest.fixture(scope="session")
def patched_main(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """OpenCLIP's main with its whole series and our packages beside it."""
    yield from make_copy(tmp_path_factory.mktemp("patched-main"), "all", main_source())


def main_source() -> str:
    """The packages of a clone of OpenCLIP's main; skips the test where there is none."""
    clone = os.environ.get("OPEN_CLIP_MAIN")
    if not clone:
        pytest.skip("OPEN_CLIP_MAIN names no clone (scripts/get_open_clip_main.sh makes one)")
    return str(Path(clone) / "src")


def make_copy(folder: Path, series: str, source: str | None = OTHER) -> Iterator[Copy]:
    """A copy of training code, that of the installed OpenCLIP by default, with a series ("none", "hooks", "mends" or "all") on it, and in
    the end its process gone."""
    for package in (PACKAGE, "open_clip") if source else (PACKAGE,):
        shutil.copytree(
            Path(source or SITE) / package,
            folder / package,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    if series != "none":
        apply_patches.main(["--target", str(folder), "--series", series])
    copy = Copy(folder)
    yield copy
    copy.close()
