"""Pairs with a common latent cause, and their embeddings: a data set that heads can learn from."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hardpairs.data.embeddings import write_embeddings
from hardpairs.data.opening import open_samples
from hardpairs.recipes import workers
from tests.helpers import picture
from tests.processes import context


def make_pairs(folder: Path, count: int = 200, widths=(12, 10)) -> tuple[Path, Path]:
    """Write a table and the embeddings of its pairs; two captions in twenty are repeated."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{i}.png").write_bytes(picture(0, 8))
    captions = [f"thing {i - 1 if i % 20 == 1 else i}" for i in range(count)]
    lines = [f"{folder}/{i}.png,{caption}" for i, caption in enumerate(captions)]
    (folder / "pairs.csv").write_text("filepath,title\n" + "\n".join(lines) + "\n")
    samples = open_samples(folder / "pairs.csv")
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(count, 6))[[i - 1 if i % 20 == 1 else i for i in range(count)]]
    image, text = (
        latent @ rng.normal(size=(6, width)) + 0.3 * rng.normal(size=(count, width))
        for width in widths
    )
    write_embeddings(
        folder / "embeddings",
        image=image.astype(np.float32),
        text=text.astype(np.float32),
        rows=np.arange(count),
        captions=captions,
        keys=list(samples.keys),
        groups=samples.groups,
        images=samples.images,
        manifest={"kind": "embeddings", "dataset_fingerprint": samples.fingerprint},
    )
    return folder / "pairs.csv", folder / "embeddings"


@pytest.fixture(autouse=True)
def forked_workers(monkeypatch):
    """Workers are forks of a process that has PyTorch imported."""
    forking = SimpleNamespace(get_context=lambda _: context)
    monkeypatch.setattr(workers, "multiprocessing", forking)


@pytest.fixture(scope="session")
def pairs(tmp_path_factory) -> tuple[Path, Path]:
    return make_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="session")
def features(pairs):
    from hardpairs.batches.sources import open_stored_embeddings
    from hardpairs.recipes.features import load_features

    samples = open_samples(pairs[0])
    return load_features(samples, open_stored_embeddings(str(pairs[1]), samples))


@pytest.fixture(scope="session")
def study_folder(pairs, tmp_path_factory):
    """A finished study of four recipes, whose test data is closed."""
    from hardpairs.cli import compare_recipes

    out = tmp_path_factory.mktemp("studies") / "study"
    words = [str(pairs[0]), "--embeddings", str(pairs[1]), "--out", str(out)]
    words += [
        "--splits",
        "2",
        "--seeds",
        "2",
        "--epochs",
        "2",
        "--batch-size",
        "16",
        "--lr",
        "3e-3",
    ]
    words += ["--recipes", "plain,large-batch,hard-pairs", "--jobs", "1"]
    words += ["--recipe", "masked: --false-negative-embeddings EMBEDDINGS"]
    compare_recipes.main(words)
    return out, words
