"""The embedding head."""

import torch
import torch.nn.functional as F

from hardpairs.models.head import EmbeddingHead, head_state


def test_heads():
    image, text = F.normalize(torch.randn(2, 3, 4), dim=-1)
    torch.testing.assert_close(EmbeddingHead("text", 4)(image, text), text)
    torch.testing.assert_close(
        EmbeddingHead("pooled", 4, image_weight=0.3)(image, text),
        F.normalize(0.3 * image + 0.7 * text, dim=-1),
    )
    learned = EmbeddingHead("pooled", 4, image_weight=0.3, learned=True)
    torch.testing.assert_close(learned(image, text), F.normalize(0.3 * image + 0.7 * text, dim=-1))
    mlp = EmbeddingHead("mlp", 4, layers=3)
    assert mlp(image, text).shape == (3, 8) and [
        m.out_features for m in mlp.mlp if hasattr(m, "out_features")
    ] == [4, 4, 8]
    assert (
        mlp(image.bfloat16(), text.bfloat16()).dtype == torch.float32
    )  # --precision bf16 converts the model before it gets a head
    assert head_state(
        {"embedding_head.mlp.0.bias": torch.ones(1), "visual.x": torch.ones(1)}
    ).keys() == {"mlp.0.bias"}
