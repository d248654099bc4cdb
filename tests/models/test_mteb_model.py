"""The model as MTEB calls it: batches of texts, of images, and of both."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from hardpairs.models.export import export_model
from hardpairs.models.load import load_encoder
from hardpairs.models.mteb_model import Model
from tests.helpers import picture
from tests.models.small_clip import NAME, write_checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("exported")
    export_model(load_encoder(NAME, str(write_checkpoint(folder))), NAME, folder / "clip")
    return Model(str(folder / "clip"), device="cpu")


def images() -> list[Image.Image]:
    return [Image.open(io.BytesIO(picture(i))) for i in range(3)]


def test_batches(model: Model) -> None:
    """What MTEB hands over besides the batches is not needed."""
    texts = model.encode([{"text": ["a", "b"]}, {"text": ["c"]}], hf_split="test", hf_subset="x")
    assert texts.shape == (3, 16) and torch.allclose(texts.norm(dim=1), torch.ones(3))
    pixels = torch.stack([model.transform(image) for image in images()])
    with torch.inference_mode():
        expected = model.model.encode_image(pixels, normalize=True)
    found = model.encode([{"image": images()}])
    assert torch.allclose(found, expected, atol=1e-6)
    both = model.encode([{"image": images(), "text": ["a", "b", "c"]}])
    expected = torch.nn.functional.normalize(found + texts, dim=1)
    assert torch.allclose(both, expected, atol=1e-5)
    with pytest.raises(ValueError, match="text or image"):
        model.encode([{"audio": []}])


def test_similarities(model: Model) -> None:
    rows, others = torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert torch.allclose(model.similarity(rows, others), torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    assert torch.allclose(model.similarity(rows[0], others[1]), torch.tensor([[0.8]]))
    assert torch.allclose(model.similarity_pairwise(rows, others), torch.tensor([0.6, 1.0]))
