"""Fixtures shared by all tests."""

from __future__ import annotations

import csv
import os
import random
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hardpairs.data.embeddings import write_embeddings
from hardpairs.data.hard_pairs import table_folder, write_helip, write_table
from hardpairs.data.opening import open_samples
from tests.browser import end_chromium
from tests.helpers import picture, ragged_table, sample, write_tar


@pytest.fixture(scope="session", autouse=True)
def one_browser() -> Iterator[None]:
    """All tests of a process share one, if any needs it."""
    yield
    end_chromium()


@pytest.fixture(autouse=True)
def own_random_numbers(request: pytest.FixtureRequest) -> None:
    """Random numbers of a test are its own: they do not depend on the tests before it."""
    seed = zlib.crc32(request.node.nodeid.encode())
    random.seed(seed)
    np.random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


@pytest.fixture
def memory_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: flushing a file to disk takes longer than all else."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="hardpairs-") as folder:
        yield Path(folder)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Three tars of 7, 5 and 8 samples; sample 3 has no caption, sample 9 no image."""
    folder, number = tmp_path / "shards", 0
    for shard, count in enumerate((7, 5, 8)):
        samples = {}
        for i in range(count):
            members = sample(number, "" if number == 3 else None)
            if number == 9:
                del members["jpg"]
            samples[f"{shard:05d}{i:04d}"] = members
            number += 1
        write_tar(folder / f"{shard:05d}.tar", samples)
    return folder


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A comma-separated OpenCLIP CSV of 40 pictures."""
    (tmp_path / "images").mkdir()
    path = tmp_path / "pairs.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "title"])
        for i in range(40):
            (tmp_path / f"images/{i}.jpg").write_bytes(picture(i))
            writer.writerow([tmp_path / f"images/{i}.jpg", f"picture number {i}"])
    return path


@pytest.fixture
def hard_pairs(table: Path, tmp_path: Path) -> Path:
    """Six hard pairs for each row of ``table``, as HELIP's CSV beside our table."""
    indices, scores = ragged_table(40, 6, fullest=True)
    fingerprint = open_samples(table).fingerprint
    written = write_table(
        table_folder(tmp_path, "pairs"), indices, scores, {"dataset_fingerprint": fingerprint}
    )
    write_helip(tmp_path, "pairs", written)
    return tmp_path / "pairs_hard_sample.csv"


@pytest.fixture
def embeddings(table: Path, tmp_path: Path) -> Path:
    """Stored embeddings of ``table``: eight bunches of five rows."""
    samples, rng = open_samples(table), np.random.default_rng(0)
    centres = np.repeat(rng.normal(size=(8, 16)), 5, axis=0)
    image, text = (centres + rng.normal(scale=0.2, size=(40, 16)) for _ in range(2))
    write_embeddings(
        tmp_path / "embeddings",
        image=image.astype(np.float32),
        text=text.astype(np.float32),
        rows=np.arange(40),
        captions=list(samples.captions),
        keys=list(samples.keys),
        groups=samples.groups,
        manifest={"dataset_fingerprint": samples.fingerprint, "num_samples": 40},
    )
    return tmp_path / "embeddings"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A checkpoint of the tiny model for tests, random weights, that knows the words of ``table``."""
    import torch

    from hardpairs.models.create import create_model_and_transforms
    from hardpairs.models.model_config import max_vocabulary, register_configs
    from hardpairs.models.tokenizer import build_vocabulary

    register_configs()
    torch.manual_seed(0)
    model = create_model_and_transforms("hardpairs-test")[0]
    path = tmp_path_factory.mktemp("model") / "epoch_1.pt"
    words = build_vocabulary(
        (f"picture number {i}" for i in range(40)), max_vocabulary("hardpairs-test")
    )
    torch.save({"epoch": 1, "state_dict": model.state_dict(), "vocabulary": words}, path)
    return path
