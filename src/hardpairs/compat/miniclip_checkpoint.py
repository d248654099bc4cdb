"""MiniCLIP's own checkpoints (``best_model_lstm.pth``): weights under our names, with the words.

MiniCLIP's names for its modules are not relied on. Weights are recognized by their order, shapes
and last names (``weight_ih_l0_reverse``, ``running_mean``), which PyTorch gives them. A file that
differs in these is refused. Three things are not in the weights, and are taken from MiniCLIP's
description: positions are added to the first token too, the dropout, and the activations.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from hardpairs.core.errors import Exit, UserError, bad_input, mismatch, usage
from hardpairs.data.manifest import sha256_file
from hardpairs.data.opening import open_samples
from hardpairs.models.checkpoint import load_checkpoint
from hardpairs.models.create import create_model_and_transforms
from hardpairs.models.miniclip.model import MiniCLIP
from hardpairs.models.miniclip.text import sinusoids
from hardpairs.models.model_config import vocabulary_of
from hardpairs.models.tokenizer import SPECIALS
from hardpairs.models.weight_files import save_checkpoint
from hardpairs.photos.demonstration import short_hash

Weights = dict[str, torch.Tensor]
_scalar = np.float64(0).__reduce__()[0]
NUMBERS: list[Any] = [
    # NumPy 1's name, then NumPy 2's.
    *((_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *(np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType),
]
"""Types that a NumPy number in a checkpoint consists of (``val_r1``); none of them runs code."""
MOST_PARTS = 8
"""Top-level modules of a model at most; all assignments of them to the two towers are tried."""
FIRST_TOKEN = "text.first"
"""The learned first token. It is a bare parameter, so PyTorch gave it no last name."""


@dataclass(frozen=True)
class ImportedCheckpoint:
    """A checkpoint of MiniCLIP in our terms.

    Attributes:
        model_name: ``miniclip-lstm``, ``miniclip-transformer``, or one of these with ``-cnn``.
        state: Weights by our names.
        vocabulary: Words in the order of their rows.
        epoch: Epochs that it was trained for, as it says itself.
    """

    model_name: str
    state: Weights
    vocabulary: list[str]
    epoch: int


def read_miniclip_checkpoint(
    path: str | os.PathLike[str], captions: Iterable[str]
) -> ImportedCheckpoint:
    """Read a checkpoint of MiniCLIP without running code that it holds.

    Args:
        path: The ``.pth`` file.
        captions: All captions of the captions.json that it was trained with, in order. MiniCLIP
            builds its vocabulary from them at each start.

    Returns:
        The checkpoint in our terms.

    Raises:
        UserError: exit 2 for a checkpoint of ours; exit 3 for another program's; exit 4 for a file
            that is damaged, holds code, has another structure, or has another vocabulary.
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
    model = cast(MiniCLIP, create_model_and_transforms(model_name, vocabulary=vocabulary)[0])
    state = _matched(theirs, model, str(path))
    rows = len(state["text.embedding.weight"])
    if rows != SPECIALS + len(vocabulary):
        raise mismatch(
            f"the captions have {len(vocabulary)} words, "
            f"the checkpoint was trained with {rows - SPECIALS}",
            where=str(path),
            why="each word would be read as another",
            fix="give the captions.json that it was trained with",
        )
    epoch = content.get("epoch", 0)
    return ImportedCheckpoint(model_name, state, vocabulary, epoch if isinstance(epoch, int) else 0)


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
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
            fix="where you trust it: load it in MiniCLIP's folder, "
            "and save its weights alone as {'model': weights}",
        ) from None


def _weights(content: dict[str, Any], where: str) -> Weights:
    """Return the one entry that maps names to tensors."""
    states = [
        value
        for value in content.values()
        if isinstance(value, dict) and value and all(map(torch.is_tensor, value.values()))
    ]
    if len(states) != 1:
        entries = ", ".join(map(str, content))
        raise bad_input(
            f"not a checkpoint of MiniCLIP: {len(states)} of its entries are weights ({entries})",
            where=where,
            fix="best_model_lstm.pth or best_model_transformer.pth",
        )
    return {name.removeprefix("module."): value for name, value in states[0].items()}


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
    """Return their weights by our names, or refuse them and show the first difference."""
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
    # MiniCLIP clamps the scale where it uses it.
    scale = theirs.pop(scales[0]).reshape(()).clamp(0, float(np.log(100)))
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
        why="weights are recognized by order, shape and last name, and these are not in ours",
        fix="train anew with --preset miniclip-lstm or miniclip-transformer",
    )


def _difference(theirs: Weights, ours: Weights) -> str | None:
    """Return the first difference of two lists of weights.

    The length of the word table does not count: the vocabulary decides it.
    """
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
            return (
                f"{their_name} {tuple(their.shape)} stands "
                f"where {name} {tuple(our.shape)} is expected"
            )
    return None


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _is_positions(value: torch.Tensor, width: int, length: int) -> bool:
    """Tell whether this is a stored table of the sinusoids that our tower computes.

    Any other table stays, and is refused as unknown.
    """
    if (
        not value.is_floating_point()
        or value.ndim not in (2, 3)
        or value.shape[-1] != width
        or value.numel() < length * width
    ):
        return False
    rows = value.reshape(-1, width)
    return torch.allclose(rows.float(), sinusoids(len(rows), width), atol=1e-4)


def import_checkpoint(checkpoint: str, captions_json: str, out: Path) -> str:
    """Write a checkpoint of ours that holds MiniCLIP's weights and words.

    Args:
        checkpoint: MiniCLIP's ``.pth`` file.
        captions_json: The captions that it was trained with.
        out: The file to write.

    Returns:
        The name of its model, which goes with it from then on.

    Raises:
        UserError: as ``read_miniclip_checkpoint`` and ``open_samples`` raise.
    """
    imported = read_miniclip_checkpoint(checkpoint, open_samples(captions_json).captions)
    content = {
        "epoch": imported.epoch,
        "name": imported.model_name,
        "state_dict": imported.state,
        "vocabulary": imported.vocabulary,
    }
    save_checkpoint(content, out)
    words = f"{len(imported.vocabulary)} words, {imported.epoch} epochs"
    print(f"{out}: {words}; compare its numbers with those you know", file=sys.stderr)
    return imported.model_name


def imported_once(checkpoint: Path, captions_json: str, out: Path) -> tuple[str, str]:
    """Import a checkpoint of MiniCLIP unless the same one was imported with the same captions.

    Args:
        checkpoint: MiniCLIP's file, such as ``best_model_lstm.pth``.
        captions_json: The captions that it was trained with.
        out: Folder of the imported files.

    Returns:
        The model's name, and the path of our file.

    Raises:
        UserError: as ``import_checkpoint`` raises.
    """
    facts = [sha256_file(path) for path in (checkpoint, captions_json) if Path(path).is_file()]
    ours = out / f"{checkpoint.stem}-{short_hash(*facts)}.pt"
    if ours.is_file():
        return load_checkpoint(ours)["name"], str(ours)
    return import_checkpoint(str(checkpoint), captions_json, ours), str(ours)
