"""The calibrate command."""

import csv

import numpy as np
import pytest

from hardpairs.data.embeddings import write_embeddings
from tests.helpers import run


@pytest.fixture
def folder(tmp_path):
    rng, count = np.random.default_rng(0), 40
    image, text = (
        rng.standard_normal((count, 6)).astype(np.float32),
        rng.standard_normal((count, 5)).astype(np.float32),
    )
    captions = [f"caption {i // 2}" for i in range(count)]
    rows = np.arange(count)
    write_embeddings(
        tmp_path / "emb",
        image=image,
        text=text,
        rows=rows,
        captions=captions,
        keys=captions,
        groups=rows,
        manifest={"kind": "embeddings"},
    )
    return tmp_path / "emb"


def test_command(folder, tmp_path):
    done = run(
        "python",
        "-m",
        "tools.calibrate_sanw",
        str(folder),
        "--out",
        str(tmp_path / "out"),
        "--alpha",
        "1",
    )
    assert done.returncode == 0, done.stderr
    assert "--loss-fn sanw_debias --sanw-alpha 1 --sanw-delta" in done.stdout
    with open(tmp_path / "out/similarities.csv") as file:
        rows = {row["dataset"]: row for row in csv.DictReader(file)}
    assert rows["both (alpha 1)"]["mean_similarity"] == rows["text"]["mean_similarity"]
    assert (
        list(rows["text"])[:3] == ["dataset", "mean_similarity", "std_similarity"]
        and "fraction_ge_0_3" in rows["text"]
    )
    assert (tmp_path / "out/similarities.png").read_bytes().startswith(b"\x89PNG")
    assert run("python", "-m", "tools.calibrate_sanw", str(tmp_path / "none")).returncode == 2
    assert run("python", "-m", "tools.calibrate_sanw", str(folder), "--alpha", "2").returncode == 2
