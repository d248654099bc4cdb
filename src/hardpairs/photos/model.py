"""The model of an index: its name, whether a given model is the same, and how it is opened."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardpairs.core.errors import Exit, UserError, bad_input, usage
from hardpairs.models.download import offline
from hardpairs.models.model_folder import folder_weights
from hardpairs.photos.index import Index, check_model

if TYPE_CHECKING:
    from hardpairs.models.encoders import Encoders

DEFAULT = ("ViT-B-32", "laion2b_s34b_b79k")
"""A model of everyday things that needs about 0.07 s per photo on two CPU cores
(benchmarks/results/embed.json)."""

WITHOUT_NETWORK = (
    "weights named by a tag are downloaded once, from Hugging Face; "
    "without a network give a file: `model` M `pretrained` FILE"
)
DOWNLOAD = (
    """python -c "import open_clip; open_clip.create_model('{}', pretrained='{}')" """
    "downloads them; or give a file: `pretrained` FILE"
)


@dataclass(frozen=True)
class ModelName:
    """An OpenCLIP model and its weights.

    Attributes:
        model: OpenCLIP name.
        pretrained: Absolute path of a checkpoint, or an OpenCLIP tag.
    """

    model: str
    pretrained: str

    @classmethod
    def choose(cls, model: str | None, pretrained: str | None, index: Index | None) -> ModelName:
        """Return the given model, else the one that made the index, else the default.

        Args:
            model: OpenCLIP name.
            pretrained: Checkpoint file or OpenCLIP tag.
            index: The index that the model is for.

        Raises:
            UserError: exit 2 for a model without weights.
        """
        if model is not None:
            pretrained = pretrained or folder_weights(model)
        own = cls(*DEFAULT)
        if index is not None:
            own = cls(index.manifest["model"], index.manifest["pretrained"])
        if model is not None and model != own.model and pretrained is None:
            message = f"`model` {model} needs its weights"
            raise usage(message, fix="give a file or an OpenCLIP tag as `pretrained`")
        if pretrained is not None and os.path.isfile(pretrained):
            pretrained = os.path.realpath(pretrained)
        return cls(model or own.model, pretrained or own.pretrained)

    def facts(self) -> dict[str, Any]:
        """Return what the manifest says of the weights.

        The size and time of a weights file let a later run recognize it without reading it.
        """
        return {"pretrained": self.pretrained, "weights_file": self._stamp()}

    def surely_made(self, index: Index) -> bool:
        """Return whether the index is known to be made by this model, without loading it.

        The size and time of a file stand for its hash.
        """
        theirs = [index.manifest[key] for key in ("model", "pretrained", "weights_file")]
        return theirs == [self.model, self.pretrained, self._stamp()]

    def _stamp(self) -> list[int] | None:
        if not os.path.isfile(self.pretrained):
            return None
        stat = os.stat(self.pretrained)
        return [stat.st_size, stat.st_mtime_ns]

    def load(self, device: str, *, download: bool) -> Encoders:
        """Load the model.

        Args:
            device: Where the model is placed.
            download: Whether weights may be downloaded that a tag names and the cache lacks. If
                not, the network is not used.

        Raises:
            UserError: exit 3 when the weights are not in the cache and cannot be downloaded; other
                errors as ``hardpairs.models.encoders.open_encoders``.
        """
        try:
            with offline():
                return self._open(device)
        except UserError as error:
            if error.code != Exit.BAD_INPUT or os.path.isfile(self.pretrained):
                raise
        if not download:
            raise bad_input(
                "the weights are not on this machine",
                where=f"{self.model}, {self.pretrained}",
                why="a search does not use the network",
                fix=DOWNLOAD.format(self.model, self.pretrained),
            )
        try:
            return self._open(device)
        except UserError as error:
            fix = error.fix or WITHOUT_NETWORK
            fields = {"where": error.where, "why": error.why, "fix": fix}
            raise UserError(error.code, error.what, **fields) from None

    def _open(self, device: str) -> Encoders:
        # PyTorch and OpenCLIP take seconds to import; a run that finds nothing new saves them.
        from hardpairs.models.encoders import open_encoders

        # Without a network, libraries log a dozen lines of what the error says at the end.
        logging.disable(logging.ERROR)
        try:
            return open_encoders(model=self.model, pretrained=self.pretrained, device=device)
        finally:
            logging.disable(logging.NOTSET)


def open_model(
    index: Index, model: str | None = None, pretrained: str | None = None, device: str = "cpu"
) -> Encoders:
    """Load the model that an index is searched with; the network is not used.

    Args:
        index: The index.
        model: OpenCLIP name; by default the one that made the index.
        pretrained: Checkpoint file or OpenCLIP tag; by default the one that made the index.
        device: Where the model is placed.

    Raises:
        UserError: exit 2 when the weights file has moved, exit 3 when the weights are not in the
            cache, exit 4 when the model is not the one that made the index.
    """
    name = ModelName.choose(model, pretrained, index)
    moved = os.path.isabs(name.pretrained) and not Path(name.pretrained).is_file()
    if pretrained is None and moved:
        raise usage(
            "the weights that made the index no longer exist",
            where=name.pretrained,
            fix="say where they are now: `pretrained` FILE",
        )
    try:
        encoders = name.load(device, download=False)
    except UserError as error:
        own = model is None and pretrained is None
        where = f"{error.where} (the model of {index.folder})".strip() if own else error.where
        raise UserError(error.code, error.what, where=where, why=error.why, fix=error.fix) from None
    check_model(index, encoders.description)
    return encoders
