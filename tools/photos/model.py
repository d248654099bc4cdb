"""The model of an index: which one, whether a given one is it, and how it is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from formats.errors import UserError, usage
from tools.photos.index import Index, check_model

if TYPE_CHECKING:
    from mining.encoders import Encoders

DEFAULT = ("ViT-B-32", "laion2b_s34b_b79k")
"""A model that knows everyday things, and takes about 0.07 s a picture on two CPU cores (benchmarks/results/embed.json)."""

WITHOUT_NETWORK = (
    "weights named by a tag are downloaded once, from Hugging Face; without a network give a file: --model M --pretrained FILE"
)


@dataclass(frozen=True)
class ModelName:
    """An OpenCLIP name and weights: an absolute path of a file, or a tag."""

    model: str
    pretrained: str

    @classmethod
    def choose(cls, model: str | None, pretrained: str | None, index: Index | None) -> ModelName:
        """What is given, else what the index was made by, else the default.

        Raises:
            UserError: exit 2 for a model without weights.
        """
        theirs = cls(index.manifest["model"], index.manifest["pretrained"]) if index is not None else cls(*DEFAULT)
        if model is not None and model != theirs.model and pretrained is None:
            raise usage(f"--model {model} needs its weights", fix="--pretrained FILE, or an OpenCLIP tag")
        if pretrained is not None and os.path.isfile(pretrained):
            pretrained = os.path.realpath(pretrained)
        return cls(model or theirs.model, pretrained or theirs.pretrained)

    def facts(self) -> dict[str, Any]:
        """For the manifest: with size and time of a weights file, a later run need not read it to know it."""
        return {"pretrained": self.pretrained, "weights_file": self._stamp()}

    def surely_made(self, index: Index) -> bool:
        """Whether the index was made by this model, as far as can be said without loading it; a file's size and time stand for its hash."""
        return (
            self.model == index.manifest["model"]
            and self.pretrained == index.manifest["pretrained"]
            and self._stamp() == index.manifest["weights_file"]
        )

    def _stamp(self) -> list[int] | None:
        if not os.path.isfile(self.pretrained):
            return None
        stat = os.stat(self.pretrained)
        return [stat.st_size, stat.st_mtime_ns]

    def load(self, device: str) -> Encoders:
        """
        Raises:
            UserError: as ``mining.encoders.open_encoders``.
        """
        from huggingface_hub.utils import logging

        from mining.encoders import open_encoders  # torch and OpenCLIP: seconds, which a run that finds nothing new does without

        logging.set_verbosity_error()  # without a network, twelve lines of what the error says at the end
        try:
            return open_encoders(model=self.model, pretrained=self.pretrained, device=device)
        except UserError as error:
            raise UserError(error.code, error.what, where=error.where, why=error.why, fix=error.fix or WITHOUT_NETWORK) from None


def open_model(index: Index, model: str | None, pretrained: str | None, device: str) -> Encoders:
    """The model an index is searched with.

    Raises:
        UserError: exit 2 when its weights are not where they were, exit 4 when it is not the one the index was made by.
    """
    name = ModelName.choose(model, pretrained, index)
    if pretrained is None and os.path.isabs(name.pretrained) and not Path(name.pretrained).is_file():
        raise usage(
            "the weights that the index was made by are gone", where=name.pretrained, fix="--pretrained FILE says where they are now"
        )
    try:
        encoders = name.load(device)
    except UserError as error:
        own = model is None and pretrained is None
        where = " ".join(filter(None, [error.where, f"(the model of {index.folder})" if own else ""]))
        raise UserError(error.code, error.what, where=where, why=error.why, fix=error.fix) from None
    check_model(index, encoders.description)
    return encoders
