"""The head of metric learning: one embedding of a row from its image and text features.

ArcFace's class weights are kept beside it.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from hardpairs.core.errors import mismatch
from hardpairs.models.checkpoint import HEAD, load_checkpoint, weights_in

KINDS = ("image", "text", "pooled", "mlp")


class EmbeddingHead(nn.Module):
    """One unit vector of a row, from its image and text features.

    ``pooled`` is normalize(w * image + (1 - w) * text) (CLIPPINGS, arXiv 2304.03464). ``mlp`` is
    CLIPPINGS' MLP over both side by side: [2D -> D, ReLU, dropout] and so on, then -> 2D.

    Args:
        kind: One of ``KINDS``.
        width: D of the features.
        image_weight: w.
        learned: Make w a parameter, kept in (0, 1) by a sigmoid.
        layers: Number of linear layers of the MLP.
        dropout: Share of units left out between them, and before the projection.
        projection: Width of a last linear layer; 0: none.
        classes: C of ArcFace's class weights (C, embedding width); 0: none. The group ids of the
            classes are in ``class_ids``.

    Attributes:
        width: Width of the embedding.
        options: The arguments, for a checkpoint.
    """

    image_weight: torch.Tensor

    def __init__(
        self,
        kind: str,
        width: int,
        *,
        image_weight: float = 0.5,
        learned: bool = False,
        layers: int = 2,
        dropout: float = 0.1,
        projection: int = 0,
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            "kind": kind,
            "width": width,
            "learned": learned,
            "layers": layers,
            "dropout": dropout,
        }
        self.options |= {"projection": projection, "classes": classes}
        self.kind = kind
        inside = 2 * width if kind == "mlp" else width
        self.width = projection or inside
        if kind == "pooled" and learned:
            self.weight_logit = nn.Parameter(
                torch.logit(torch.tensor(image_weight, dtype=torch.float32), eps=1e-3)
            )
        elif kind == "pooled":
            self.register_buffer("image_weight", torch.tensor(image_weight, dtype=torch.float32))
        if kind == "mlp":
            self.mlp = _mlp(2 * width, width, layers, dropout)
        if projection:
            self.projection = nn.Sequential(nn.Dropout(dropout), nn.Linear(inside, projection))
        if classes:
            self.class_weights = nn.Parameter(
                nn.init.xavier_normal_(torch.empty(classes, self.width))
            )
            self.register_buffer("class_ids", torch.zeros(classes, dtype=torch.int64))

    def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of a batch.

        Features of half precision are converted to float32: the head's weights stay float32 in
        models that are converted whole (``--precision bf16``).

        Args:
            image: (B, D) unit features.
            text: (B, D) unit features.

        Returns:
            (B, ``width``) unit rows.
        """
        half = (torch.float16, torch.bfloat16)
        image, text = (x.float() if x.dtype in half else x for x in (image, text))
        rows = self._joined(image, text)
        return F.normalize(self.projection(rows) if hasattr(self, "projection") else rows, dim=-1)

    def _joined(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        if self.kind in ("image", "text"):
            return image if self.kind == "image" else text
        if self.kind == "mlp":
            joined: torch.Tensor = self.mlp(torch.cat((image, text), dim=-1))
            return joined
        weight = self.weight_logit.sigmoid() if hasattr(self, "weight_logit") else self.image_weight
        return F.normalize(weight * image + (1 - weight) * text, dim=-1)


def _mlp(width: int, hidden: int, layers: int, dropout: float) -> nn.Sequential:
    parts: list[nn.Module] = []
    inside = width
    for _ in range(layers - 1):
        parts += [nn.Linear(inside, hidden), nn.ReLU(), nn.Dropout(dropout)]
        inside = hidden
    return nn.Sequential(*parts, nn.Linear(inside, width))


def attach(model: nn.Module, head: EmbeddingHead) -> nn.Module:
    """Make the head a part of the model, so that it is optimized, saved and loaded with it.

    The model's output gets ``embedding``, and with class weights ``class_weights``. Tuples, which a
    model returns outside of training, stay as they are.
    """
    model.add_module(HEAD, head)

    def add_embedding(_: nn.Module, __: Any, outputs: Any) -> Any:
        if not isinstance(outputs, dict):
            return outputs
        image, text = outputs.get("image_features"), outputs.get("text_features")
        if image is None or text is None:
            return outputs
        # A copy has no gradient where the caller wants none: gradient accumulation keeps outputs.
        weights = getattr(head, "class_weights", None)
        more = {} if weights is None else {"class_weights": weights.clone()}
        return {**outputs, "embedding": head(image, text), **more}

    model.register_forward_hook(add_embedding)
    return model


def head_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the head's entries of a model's state, without the head's name."""
    return {
        name.removeprefix(f"{HEAD}."): value
        for name, value in state.items()
        if name.startswith(f"{HEAD}.")
    }


def load_head(checkpoint: str | os.PathLike[str]) -> EmbeddingHead | None:
    """Return the head in a checkpoint of ours, in eval mode; ``None`` where it has none.

    Raises:
        UserError: exit 4 for a damaged checkpoint, or one that has a head's weights and does not
            say what kind of head it is.
    """
    content = load_checkpoint(checkpoint)
    state = head_state(weights_in(content))
    options: dict[str, Any] | None = content.get(HEAD)
    if options is None:
        if state:
            raise mismatch(
                "the checkpoint does not say what its head is about",
                where=str(checkpoint),
                fix="train it with this version",
            )
        return None
    try:
        head = EmbeddingHead(**options)
        head.load_state_dict(state)
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        raise mismatch(
            f"the checkpoint's head is damaged: {str(error).splitlines()[-1].strip()[:200]}",
            where=str(checkpoint),
            fix="give another checkpoint",
        ) from None
    return head.eval()


@torch.no_grad()
def embed_with(
    head: EmbeddingHead, image: np.ndarray, text: np.ndarray, rows_at_once: int = 4096
) -> np.ndarray:
    """Return the embeddings of a head.

    Args:
        head: The head.
        image: (N, D) unit rows.
        text: (N, D) unit rows.
        rows_at_once: Rows per block.

    Returns:
        (N, ``head.width``) float32 unit rows.
    """
    blocks = []
    for start in range(0, len(image), rows_at_once):
        sides = (
            torch.from_numpy(np.array(side[start : start + rows_at_once], np.float32))
            for side in (image, text)
        )
        blocks.append(head(*sides).numpy())
    return np.concatenate(blocks)


def changes_space(head: EmbeddingHead) -> bool:
    """Return whether a head has layers, so that distances without it are not those trained."""
    return head.kind == "mlp" or bool(head.options["projection"])
