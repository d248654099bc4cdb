"""The compiled loops where they cannot be compiled, or not be kept: slower, with the same bytes."""

import hashlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from hardpairs.mining.filters import Filters
from hardpairs.mining.search import search
from tests.helpers import ROOT
from tests.mining.test_search import themed

OPTIONS = {
    "plain": {},
    "weighted": {"image_weight": 0.7, "similarity_floor": 0.1},
    "filtered": {"relative_margin": 0.1, "max_score": 0.4, "duplicate_threshold": 0.5},
}


def digests() -> list[str]:
    """What a few searches find, with both precisions."""
    image, text = themed(200, 24), themed(200, 24, 1)
    image[20:80] = image[20]
    groups = np.random.default_rng(0).integers(0, 60, (200, 2))
    found = [
        search(image, text, top_k=3, filters=Filters(**options), groups=groups, precision=precision)
        for options in OPTIONS.values()
        for precision in ("bfloat16", "float32")
    ]
    found.append(search(image, text, top_k=3, filters=Filters(), method="text", approx=100))
    return [
        hashlib.sha256(
            f"{f.kept}{f.removed}".encode() + f.indices.tobytes() + f.scores.tobytes()
        ).hexdigest()
        for f in found
    ]


def run(before: str, folder=ROOT, **environment: str) -> list[str]:
    code = (
        f"{before}; from tests.mining import test_kernel; print('\\n'.join(test_kernel.digests()))"
    )
    paths = f"{folder}:{ROOT}:{ROOT / 'src'}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": paths, "PATH": "", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_without_numba():
    before = "import sys; sys.modules['numba'] = None; from hardpairs.mining import kernel; assert not kernel.COMPILED"
    assert run(before) == digests()


@pytest.mark.slow  # compiles everything
def test_where_machine_code_cannot_be_kept(tmp_path):
    """No cache folder beside the file, none in the home folder."""
    shutil.copytree(
        ROOT / "src/hardpairs", tmp_path / "hardpairs", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "hardpairs/mining/__pycache__").write_text("in the way of the folder")
    before = f"from hardpairs.mining import kernel; assert kernel.COMPILED and kernel.__file__.startswith({str(tmp_path)!r})"
    assert run(before, tmp_path, HOME="/dev/null", XDG_CACHE_HOME="/dev/null") == digests()


def test_a_folder_for_machine_code_is_no_condition(monkeypatch):
    """What numba raises where it finds none."""
    from hardpairs.mining import kernel

    if not kernel.COMPILED:
        pytest.skip("nothing is compiled here")

    def refuses(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: ("compiled", function)

    monkeypatch.setattr(
        kernel.numba, "njit", lambda **options: lambda function: refuses(**options)(function)
    )
    assert kernel._compiler()(abs) == ("compiled", abs)
