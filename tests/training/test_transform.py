"""One transform of pictures in training, mining and evaluation: stored in the checkpoint, named in manifests, and differences told."""

import argparse
import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hardpairs.data.embeddings import write_embeddings
from hardpairs.models.create import preprocess_of
from hardpairs.models.load import load_encoder
from hardpairs.training.hooks.run import _warn_of_another_transform
from tests.helpers import run
from tests.training.test_trainer import COMMA, train


def test_what_a_run_was_trained_with_is_what_embeds(table, tmp_path):
    flags = (
        "--train-data",
        str(table),
        *COMMA,
        "--batch-size",
        "8",
        "--max-steps",
        "1",
        "--augment",
        "none",
    )
    done = train(
        tmp_path,
        "run",
        *flags,
        "--image-resize-mode",
        "longest",
        "--image-mean",
        "0.1",
        "0.2",
        "0.3",
    )
    assert done.returncode == 0, done.stderr
    checkpoint = str(tmp_path / "run/checkpoints/epoch_1.pt")
    encoder = load_encoder("hardpairs-test", checkpoint)
    preprocess = encoder.description["preprocess"]
    assert preprocess["resize_mode"] == "longest" and preprocess["mean"] == [0.1, 0.2, 0.3]
    assert (
        load_encoder("hardpairs-test", checkpoint, resize_mode="squash").description["preprocess"][
            "resize_mode"
        ]
        == "squash"
    )
    embed = (
        "python",
        "-m",
        "mining.embed",
        "--csv",
        str(table),
        "--model",
        "hardpairs-test",
        "--pretrained",
    )
    assert run(*embed, checkpoint, "--out", str(tmp_path / "own")).returncode == 0
    assert (
        run(
            *embed, checkpoint, "--image-resize-mode", "shortest", "--out", str(tmp_path / "other")
        ).returncode
        == 0
    )
    stored = [
        json.loads((tmp_path / name / "manifest.json").read_text())["preprocess"]
        for name in ("own", "other")
    ]
    assert stored[0] == preprocess and stored[1] == {**preprocess, "resize_mode": "shortest"}
    again = train(tmp_path, "again", *flags, "--pretrained", checkpoint)
    assert again.returncode == 0, again.stderr
    assert (
        torch.load(tmp_path / "again/checkpoints/epoch_1.pt", weights_only=True)["preprocess"]
        == preprocess
    )


@pytest.mark.parametrize(("changed", "told"), [({}, False), ({"resize_mode": "squash"}, True)])
@pytest.mark.parametrize("kind", ["hard pairs", "embeddings"])
def test_batches_from_other_pictures_are_told(tmp_path, caplog, kind, changed, told):
    model = load_encoder("hardpairs-test", None, vocabulary=["a"]).model
    made = {"model": "hardpairs-test", "preprocess": {**preprocess_of(model), **changed}}
    args = argparse.Namespace(model="hardpairs-test", hard_dict_dir=None, batching_embeddings=None)
    if kind == "hard pairs":
        args.hard_dict_dir = "pairs"
        table = SimpleNamespace(manifest={"embeddings": made})
    else:
        args.batching_embeddings, table = str(tmp_path / "emb"), None
        rows = np.eye(3, 4, dtype=np.float32)
        texts = {"captions": ["a"] * 3, "keys": ["a", "b", "c"], "groups": np.arange(3)}
        write_embeddings(
            tmp_path / "emb",
            image=rows,
            text=rows,
            rows=np.arange(3),
            **texts,
            manifest={**made, "num_samples": 3},
        )
    with caplog.at_level(logging.WARNING):
        _warn_of_another_transform(args, model, table)
    assert ("prepared in another way" in caplog.text) == told
