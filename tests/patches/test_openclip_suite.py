"""OpenCLIP's own tests, from its source distribution, have the same outcome on the patched tree as on the unpatched one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from hardpairs.cli import patch as apply_patches
from hardpairs.patching.diff import PACKAGE
from hardpairs.patching.series import VERSIONS
from tests.patches.conftest import SITE
from tests.patching.clones import download

WEBDATASET = "0.2.86"  # OpenCLIP's own pin: with a newer one its shard tests fail without our mend
BUILT = (
    "RN50",
    "ViT-B-32",
    "coca_ViT-B-32",
)  # of its 130 models; without its reference outputs each is built and then skipped


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Path:
    unpacked = download(
        tmp_path_factory.mktemp("sdist"),
        "--no-binary",
        "open_clip_torch",
        f"open_clip_torch=={VERSIONS[0]}",
    )
    (source,) = unpacked.iterdir()
    return source / "tests"


@pytest.fixture(scope="module")
def webdataset(tmp_path_factory) -> Path:
    return download(tmp_path_factory.mktemp("webdataset"), f"webdataset=={WEBDATASET}")


def outcomes(suite: Path, folder: Path, *paths: Path) -> dict[str, str]:
    """passed, skipped, failed or error of each test, run in ``folder`` with ``paths`` before the installed packages."""
    (folder / "models.txt").write_text("\n".join(BUILT))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "OPEN_CLIP_TEST_REG_MODELS": str(folder / "models.txt"),
        "HF_HUB_OFFLINE": "1",
    }
    shutil.copytree(suite, folder / "tests")
    options = (
        "-c",
        os.devnull,
        "--rootdir",
        str(folder),
        "-p",
        "no:cacheprovider",
        "--continue-on-collection-errors",
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        *options,
        "--junitxml",
        str(folder / "outcomes.xml"),
        "tests",
    ]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert (folder / "outcomes.xml").exists(), result.stdout[-3000:]
    kinds = {}
    for case in ET.parse(folder / "outcomes.xml").iter("testcase"):
        kinds[f"{case.get('classname')}::{case.get('name')}"] = next(
            (child.tag for child in case if child.tag != "system-out"), "passed"
        )
    return kinds


@pytest.mark.slow
def test_same_outcomes(suite, webdataset, tmp_path):
    found = {}
    for side in ("plain", "patched"):
        (tmp_path / side).mkdir()
        tree = tmp_path / side / "src"
        shutil.copytree(
            SITE / PACKAGE, tree / PACKAGE, ignore=shutil.ignore_patterns("__pycache__")
        )
        if side == "patched":
            apply_patches.main(["--target", str(tree), "--series", "all"])
        found[side] = outcomes(suite, tmp_path / side, tree, webdataset)
    assert found["patched"] == found["plain"]
    print(
        {
            kind: list(found["plain"].values()).count(kind)
            for kind in sorted(set(found["plain"].values()))
        }
    )
    passed = {name for name, kind in found["plain"].items() if kind == "passed"}
    assert any("test_training" in name for name in passed) and any(
        "test_wds" in name for name in passed
    ), found["plain"]
