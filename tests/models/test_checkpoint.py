"""Checkpoints are read without running code; weights are told apart by content."""

import pytest
import torch

from hardpairs.core.errors import UserError
from hardpairs.data.manifest import sha256_file
from hardpairs.models.checkpoint import (
    checkpoint_image_size,
    checkpoint_preprocess,
    checkpoint_vocabulary,
    load_checkpoint,
    weights_identity,
    weights_in,
    without_head,
)
from hardpairs.models.weight_files import save_checkpoint


def test_checkpoints_that_hold_code_are_refused_and_do_not_run_it(tmp_path):
    class Canary:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"state_dict": Canary()}, tmp_path / "bad.pt")
    with pytest.raises(UserError) as error:
        load_checkpoint(tmp_path / "bad.pt")
    assert error.value.code == 4 and not (tmp_path / "ran").exists()


def test_weights_have_the_identity_of_their_bytes(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "a.pt")
    assert weights_identity(str(tmp_path / "a.pt")) == f"sha256:{sha256_file(tmp_path / 'a.pt')}"
    assert weights_identity("laion2b") == "tag:laion2b"


def test_names_of_several_processes_and_of_the_head():
    weights = weights_in({"state_dict": {"module.visual.a": 1, "embedding_head.b": 2}})
    assert weights == {"visual.a": 1, "embedding_head.b": 2}
    assert without_head(weights) == {"visual.a": 1}


@pytest.mark.parametrize(
    ("entry", "read"),
    [
        ({"vocabulary": ["a", 1]}, checkpoint_vocabulary),
        ({"vocabulary": "abc"}, checkpoint_vocabulary),
        ({"preprocess": [1]}, checkpoint_preprocess),
        ({"preprocess": {"mean": "abc"}}, checkpoint_preprocess),
        ({"preprocess": {"interpolation": 5}}, checkpoint_preprocess),
        ({"preprocess": {"size": "large"}}, lambda path: checkpoint_image_size(path, "ViT-B-32")),
        ({"preprocess": {"size": []}}, lambda path: checkpoint_image_size(path, "ViT-B-32")),
    ],
)
def test_entries_of_another_form_are_refused(tmp_path, entry, read):
    save_checkpoint({"state_dict": {}, **entry}, tmp_path / "c.pt")
    with pytest.raises(UserError, match=f"its entry {next(iter(entry))} has another form") as error:
        read(tmp_path / "c.pt")
    assert error.value.code == 4
