"""hardpairs data get: what it prints, and its errors."""

from __future__ import annotations

import shutil

import pytest

from hardpairs.catalog import tuxpaint
from hardpairs.cli.data_get import main
from hardpairs.cli.embed import main as embed
from tests.catalog.made import debian_package, pinned, png
from tests.embedding.colors import RANDOM
from tests.helpers import in_process

COLORS = ("red", "blue", "green", "black", "gray", "brown", "orange", "purple", "navy", "teal")


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg is not installed")
def test_a_set_is_made_and_embedded(tmp_path, monkeypatch):
    folder = "usr/share/tuxpaint/stamps"
    files = {f"{folder}/{color}.png": png(color) for color in COLORS}
    files |= {f"{folder}/{color}.txt": f"A {color} block.".encode() for color in COLORS}
    files["usr/share/doc/tuxpaint-stamps-default/copyright"] = b"GPL"
    path = debian_package(tmp_path / "packages/stamps_1_all.deb", files, tmp_path / "root")
    package = pinned(path, "Debian", "tuxpaint-stamps-default", "1")
    monkeypatch.setattr(tuxpaint, "PACKAGES", (package,))
    flags = ("--out", tmp_path / "set", "--packages", path.parent, "--image-size", 32)
    done = in_process(main, "tuxpaint", *flags)
    assert done.returncode == 0 and not done.stdout, done.stderr
    assert "train 7, val 1, test 2 pairs" in done.stderr
    assert "licenses: GPL-2.0-or-later 10" in done.stderr
    again = in_process(main, "tuxpaint", *flags, "--seed", 4)
    assert again.returncode == 4 and "differs in seed" in again.stderr and "--out" in again.stderr
    done = in_process(
        embed,
        *("--shards", tmp_path / "set/train", *RANDOM, "--workers", 0, "--out", tmp_path / "emb"),
    )
    assert done.returncode == 0, done.stderr


def test_errors_name_the_package_and_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    done = in_process(main, "icons", "--out", tmp_path / "set", "--packages", tmp_path / "none")
    assert done.returncode == 3
    assert "npm package @iconify/json" in done.stderr and "npm pack" in done.stderr
    assert not (tmp_path / "set").exists()
    assert in_process(main, "cc3m").stderr.count("scripts/download_cc3m.sh") == 1
    assert in_process(main, "cc3m").returncode == 2
    assert in_process(main, "icons", "--limit", "3").returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["icons", "openclipart", "tuxpaint", "emoji"])
def test_the_real_packages(tmp_path, name):
    """Fetches up to 160 MB from npm or Debian."""
    done = in_process(
        main, name, "--out", tmp_path / "set", "--packages", tmp_path / "packages", "--limit", 300
    )
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "set/train.csv").read_text().splitlines()
    assert 150 < len(lines) <= 300
