"""Reads MiniCLIP's own checkpoints (``best_model_lstm.pth``): its weights under our names, with the words that it does not store.

What MiniCLIP calls its modules is not relied on. Weights are recognised by their order, shapes and last names (``weight_ih_l0_reverse``,
``running_mean``), which torch gives them; where these are not exactly ours, the file is refused. What no weight can show, and is taken from
MiniCLIP's description: that positions are added to the first token, too, and dropout and activations.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from hardpairs.core.errors import Exit, UserError, bad_input, mismatch, usage
from hardpairs.models.checkpoint import load_checkpoint
from hardpairs.models.create import create_model_and_transforms
from hardpairs.models.miniclip.model import MiniCLIP
from hardpairs.models.miniclip.text import sinusoids
from hardpairs.models.model_config import vocabulary_of
from hardpairs.models.tokenizer import SPECIALS

Weights = dict[str, torch.Tensor]
_scalar = np.float64(0).__reduce__()[0]
NUMBERS = [
    *(
        (_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")
    ),  # by NumPy 1's name and by NumPy 2's
    *(np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType),
]
"""What a NumPy number in a checkpoint is made of (``val_r1`` may be one); nothing of it runs code."""
MOST_PARTS = 8
"""Modules that the model may consist of; which of them are of which tower is found by trying."""
FIRST_TOKEN = "text.first"
"""The learned first token, a bare parameter: it has no last name that torch gave it."""


@dataclass(frozen=True)
class SeedCheckpoint:
    """A checkpoint of MiniCLIP in our terms.

    Attributes:
        model_name: ``miniclip-lstm``, ``miniclip-transformer``, or one of these with ``-cnn``.
        state: weights by our names.
        vocabulary: words in the order of their rows.
        epoch: after how many epochs it was saved, as it says itself.
    """

    model_name: str
    state: Weights
    vocabulary: list[str]
    epoch: int


def read_seed_checkpoint(path: str | os.PathLike[str], captions: Iterable[str]) -> SeedCheckpoint:
    """Opens a checkpoint of MiniCLIP.

    Args:
        path: of the ``.pth`` file; it is read without running any code of it.
        captions: all of the captions.json it was trained with, in order: MiniCLIP builds its vocabulary from them at each start.

    Raises:
        UserError: exit 2 for a checkpoint of ours, exit 3 when it is no checkpoint of MiniCLIP, exit 4 when it is torn, holds code, is built otherwise than described, or
            has another vocabulary.
    """
    content = _read(path)
    if "vocabulary" in content:
        raise usage(
            "a checkpoint of this project, with its own words",
            where=str(path),
            fix="use it as it is: --pretrained FILE",
        )
    theirs = _weights(content, str(path))
    model_name = _model_name(theirs, str(path))
    vocabulary = vocabulary_of(model_name, captions)
    model = create_model_and_transforms(model_name, vocabulary=vocabulary)[0]
    state = _matched(theirs, model, str(path))
    rows = len(state["text.embedding.weight"])
    if rows != SPECIALS + len(vocabulary):
        raise mismatch(
            f"the captions have {len(vocabulary)} words, the checkpoint was trained with {rows - SPECIALS}",
            where=str(path),
            why="each word would be read as another",
            fix="give the captions.json that it was trained with",
        )
    epoch = content.get("epoch", 0)
    return SeedCheckpoint(model_name, state, vocabulary, epoch if isinstance(epoch, int) else 0)


def _read(path: str | os.PathLike[str]) -> dict:
    try:
        with torch.serialization.safe_globals(NUMBERS):
            return load_checkpoint(path)
    except UserError as error:
        if error.code != Exit.MISMATCH:
            raise
        raise mismatch(
            error.what,
            where=error.where,
            why="it is torn, or holds more than numbers, such as an object of MiniCLIP's own",
            fix="where you trust it, in MiniCLIP's folder: load it there, and save its weights alone as {'model': weights}",
        ) from None


def _weights(content: dict, where: str) -> Weights:
    """The one entry that is a mapping of names to tensors."""
    found = [
        value
        for value in content.values()
        if isinstance(value, dict) and value and all(map(torch.is_tensor, value.values()))
    ]
    if len(found) != 1:
        raise bad_input(
            f"no checkpoint of MiniCLIP: {len(found)} of its entries are weights ({', '.join(map(str, content))})",
            where=where,
            fix="best_model_lstm.pth or best_model_transformer.pth",
        )
    return {name.removeprefix("module."): value for name, value in found[0].items()}


def _model_name(theirs: Weights, where: str) -> str:
    last = {_last(name) for name in theirs}
    text = "lstm" if "weight_ih_l0" in last else "transformer" if "in_proj_weight" in last else None
    if text is None:
        raise mismatch(
            "the weights have neither an LSTM nor a Transformer",
            where=where,
            fix="a checkpoint of MiniCLIP",
        )
    convolutions = sum(value.ndim == 4 for value in theirs.values())
    return f"miniclip-{text}{'-cnn' if convolutions == 4 else ''}"


def _matched(theirs: Weights, model: MiniCLIP, where: str) -> Weights:
    """Their weights by our names, or a refusal that shows the first difference."""
    width, length = model.text.width, model.context_length
    theirs = {
        name: value for name, value in theirs.items() if not _is_positions(value, width, length)
    }
    scales = [
        name for name, value in theirs.items() if value.numel() == 1 and value.is_floating_point()
    ]
    if len(scales) != 1:
        raise mismatch(
            f"{len(scales)} single numbers where the temperature should be: {scales}",
            where=where,
            fix="a checkpoint of MiniCLIP",
        )
    scale = (
        theirs.pop(scales[0]).reshape(()).clamp(0, float(np.log(100)))
    )  # MiniCLIP clamps it where it is used
    towers = {
        part: getattr(model, part).state_dict(prefix=f"{part}.") for part in ("visual", "text")
    }
    tops = list(dict.fromkeys(name.split(".")[0] for name in theirs))
    for chosen in itertools.product(towers, repeat=len(tops)) if len(tops) <= MOST_PARTS else ():
        side = dict(zip(tops, chosen, strict=True))
        parts = {
            part: {name: v for name, v in theirs.items() if side[name.split(".")[0]] == part}
            for part in towers
        }
        if all(_difference(parts[part], ours) is None for part, ours in towers.items()):
            pairs = (zip(towers[part], parts[part].values(), strict=True) for part in towers)
            state = {name: value for pair in pairs for name, value in pair}
            if FIRST_TOKEN in state:
                state[FIRST_TOKEN] = state[FIRST_TOKEN].reshape(1, 1, width)
            return {"logit_scale": scale, **state}
    in_order = {**towers["visual"], **towers["text"]}
    raise mismatch(
        f"MiniCLIP's weights are not as described: {_difference(theirs, in_order)}",
        where=where,
        why="weights are recognised by order, shape and last name, and these are not in ours",
        fix="train anew with --preset miniclip-lstm or miniclip-transformer",
    )


def _difference(theirs: Weights, ours: Weights) -> str | None:
    """The first place where two orders of weights differ; sizes of word tables aside, which the vocabulary decides."""
    for (their_name, their), (name, our) in itertools.zip_longest(
        theirs.items(), ours.items(), fillvalue=("nothing", torch.empty(0))
    ):
        if name == FIRST_TOKEN:
            same = their.numel() == our.numel()
        elif name == "text.embedding.weight":
            same = (
                their.ndim == 2 and their.shape[1] == our.shape[1] and _last(their_name) == "weight"
            )
        else:
            same = their.shape == our.shape and _last(their_name) == _last(name)
        if not same:
            return f"{their_name} {tuple(their.shape)} stands where {name} {tuple(our.shape)} is expected"
    return None


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _is_positions(value: torch.Tensor, width: int, length: int) -> bool:
    """Whether this is a stored table of the sinusoids that our tower computes; any other table stays, and is refused as unknown."""
    if (
        not value.is_floating_point()
        or value.ndim not in (2, 3)
        or value.shape[-1] != width
        or value.numel() < length * width
    ):
        return False
    rows = value.reshape(-1, width)
    return torch.allclose(rows.float(), sinusoids(len(rows), width), atol=1e-4)
