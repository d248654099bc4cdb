"""Checkpoints are read without running code; weights are told apart by content."""

import pytest
import torch

from hardpairs.core.errors import UserError
from hardpairs.data.manifest import sha256_file
from hardpairs.models.checkpoint import load_checkpoint, weights_identity, weights_in, without_head


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
