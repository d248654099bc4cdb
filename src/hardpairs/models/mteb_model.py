"""A CLIP model in OpenCLIP's folder form, as MTEB and MIEB call models.

``hardpairs export model`` writes this file into the folder of the model. It needs
``open_clip_torch`` and, for MTEB, ``mteb``::

    import mteb
    from mteb_model import Model  # with the folder on sys.path

    mteb.evaluate(Model(), mteb.get_tasks(["Winoground"]))
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch.nn import functional


class Model:
    """Embeds images and texts to unit rows.

    Args:
        model_name: The folder of the model; default: the folder of this file.
        revision: What MTEB's results are filed under.
        device: A device of PyTorch; default: a GPU where there is one.
    """

    def __init__(
        self,
        model_name: str | None = None,
        revision: str | None = None,
        *,
        device: str | None = None,
        **_: Any,
    ) -> None:
        self.folder = Path(model_name or Path(__file__).parent).resolve()
        self.revision = revision or "local"
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        name = f"local-dir:{self.folder}"
        model, _, self.transform = open_clip.create_model_and_transforms(
            name, device=self.device, **_text_tower(self.folder)
        )
        self.model: Any = model.eval()
        self.tokenizer = open_clip.get_tokenizer(name)

    def encode(self, inputs: Iterable[Mapping[str, Any]], **_: Any) -> torch.Tensor:
        """Return (N, D) float32 unit rows.

        Args:
            inputs: Batches with ``text`` (texts), ``image`` (images of Pillow) or both, of which
                the sum is embedded, as MTEB's own models of OpenCLIP do.

        Raises:
            ValueError: A batch has neither.
        """
        with torch.inference_mode():
            return torch.cat([self._encode(batch) for batch in inputs])

    def _encode(self, batch: Mapping[str, Any]) -> torch.Tensor:
        halves = []
        if "text" in batch:
            tokens = self.tokenizer(list(batch["text"])).to(self.device)
            halves.append(self.model.encode_text(tokens, normalize=True))
        if "image" in batch:
            pixels = torch.stack([self.transform(each.convert("RGB")) for each in batch["image"]])
            halves.append(self.model.encode_image(pixels.to(self.device), normalize=True))
        if not halves:
            raise ValueError(f"a batch has text or image, not {sorted(batch)}")
        return functional.normalize(sum(halves).float(), dim=-1).cpu()

    def similarity(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Return the cosines of all rows with all others."""
        return _unit(embeddings1) @ _unit(embeddings2).T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Return the cosines of rows with the rows of one number."""
        return (_unit(embeddings1) * _unit(embeddings2)).sum(dim=-1)

    @property
    def mteb_model_meta(self) -> Any:
        """Return the facts that MTEB files results under."""
        from mteb.models import ModelMeta

        return ModelMeta.create_empty(
            {
                "name": f"local/{self.folder.name}",
                "revision": self.revision,
                "modalities": ["image", "text"],
                "similarity_fn_name": "cosine",
                "framework": ["PyTorch"],
            }
        )


def _text_tower(folder: Path) -> dict[str, Any]:
    """Return options that build a text tower of Hugging Face from the folder, not from its hub."""
    content = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    text = content["model_cfg"]["text_cfg"]
    if not (text.get("hf_model_name") and (folder / "config.json").is_file()):
        return {}
    return {"text_cfg": {**text, "hf_model_name": str(folder), "hf_model_pretrained": False}}


def _unit(rows: Any) -> torch.Tensor:
    tensor = torch.as_tensor(rows).float()
    return functional.normalize(tensor.reshape(-1, tensor.shape[-1]), dim=-1)
