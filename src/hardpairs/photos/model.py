"""The model of an index: which one, whether a given one is it, and how it is opened."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardpairs.core.errors import Exit, UserError, bad_input, usage
from hardpairs.photos.index import Index, check_model

if TYPE_CHECKING:
    from hardpairs.models.encoders import Encoders

DEFAULT = ("ViT-B-32", "laion2b_s34b_b79k")
"""A model that knows everyday things, and takes about 0.07 s a picture on two CPU cores (benchmarks/results/embed.json)."""

WITHOUT_NETWORK = "weights named by a tag are downloaded once, from Hugging Face; without a network give a file: --model M --pretrained FILE"
DOWNLOAD = """python -c "import open_clip; open_clip.create_model('{}', pretrained='{}')" downloads them, or --pretrained FILE"""


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
        theirs = (
            cls(index.manifest["model"], index.manifest["pretrained"])
            if index is not None
            else cls(*DEFAULT)
        )
        if model is not None and model != theirs.model and pretrained is None:
            raise usage(
                f"--model {model} needs its weights", fix="--pretrained FILE, or an OpenCLIP tag"
            )
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

    def load(self, device: str, *, download: bool) -> Encoders:
        """The model.

        Args:
            download: weights named by a tag, where they are not in the cache; else nothing is asked of the network.

        Raises:
            UserError: exit 3 when the weights are not in the cache and cannot be had; else as ``hardpairs.models.encoders.open_encoders``.
        """
        try:
            with _without_network():
                return self._open(device)
        except UserError as error:
            if error.code != Exit.BAD_INPUT or os.path.isfile(self.pretrained):
                raise
        if not download:
            where, why = f"{self.model}, {self.pretrained}", "a search does not use the network"
            raise bad_input(
                "the weights are not on this machine",
                where=where,
                why=why,
                fix=DOWNLOAD.format(self.model, self.pretrained),
            )
        try:
            return self._open(device)
        except UserError as error:
            raise UserError(
                error.code,
                error.what,
                where=error.where,
                why=error.why,
                fix=error.fix or WITHOUT_NETWORK,
            ) from None

    def _open(self, device: str) -> Encoders:
        from hardpairs.models.encoders import (
            open_encoders,  # torch and OpenCLIP: seconds, which a run that finds nothing new does without
        )

        logging.disable(
            logging.ERROR
        )  # without a network, a dozen lines of what the error says at the end
        try:
            return open_encoders(model=self.model, pretrained=self.pretrained, device=device)
        finally:
            logging.disable(logging.NOTSET)


@contextlib.contextmanager
def _without_network() -> Iterator[None]:
    """Hugging Face's library takes what is in its cache, and raises where it would ask the network: even of cached files it asks whether there
    are newer ones. Its environment variable (HF_HUB_OFFLINE) is read when it is imported, and that may be over."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def open_model(index: Index, model: str | None, pretrained: str | None, device: str) -> Encoders:
    """The model an index is searched with; nothing is asked of the network.

    Raises:
        UserError: exit 2 when its weights are not where they were, exit 3 when they are not in the cache, exit 4 when it is not the one the index was made by.
    """
    name = ModelName.choose(model, pretrained, index)
    if (
        pretrained is None
        and os.path.isabs(name.pretrained)
        and not Path(name.pretrained).is_file()
    ):
        raise usage(
            "the weights that the index was made by are gone",
            where=name.pretrained,
            fix="--pretrained FILE says where they are now",
        )
    try:
        encoders = name.load(device, download=False)
    except UserError as error:
        own = model is None and pretrained is None
        where = " ".join(
            filter(None, [error.where, f"(the model of {index.folder})" if own else ""])
        )
        raise UserError(error.code, error.what, where=where, why=error.why, fix=error.fix) from None
    check_model(index, encoders.description)
    return encoders
