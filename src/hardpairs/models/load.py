"""Opens a model by name and weights, with the transform and the tokenizer it was trained with."""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils import serialization

from hardpairs.core.errors import UserError, bad_input, mismatch, usage
from hardpairs.data.manifest import sha256_file
from hardpairs.models import huggingface
from hardpairs.models.miniclip import MiniCLIP, create_miniclip, image_weights, is_miniclip
from hardpairs.models.tokenizer import SPECIALS, PlainWordTokenizer, WordTokenizer, build_vocabulary

Tokenizer = Callable[[list[str]], torch.Tensor]
WORD_TOKENIZERS = {
    "words": WordTokenizer,
    "plain-words": PlainWordTokenizer,
}
"""Our tokenizers by the ``tokenizer_mode`` of a model configuration."""


@dataclass(frozen=True)
class Encoder:
    """A model ready to embed.

    Attributes:
        model: in eval mode; ``encode_image`` and ``encode_text`` as in OpenCLIP.
        transform: RGB image to (3, H, W) float tensor.
        tokenizer: texts to (T, L) token ids.
        description: what identifies it in a manifest: model, weights (sha256), preprocess.
    """

    model: nn.Module
    transform: Callable
    tokenizer: Tokenizer
    description: dict[str, Any]


@cache
def register_configs() -> None:
    """Makes our model configs known to OpenCLIP by name (``hardpairs-*``, ``miniclip-*``)."""
    open_clip.add_model_config(Path(__file__).parent / "configs")


def uses_words(model_name: str) -> bool:
    """Whether a model's text tower reads a word tokenizer of ours (``tokenizer_mode`` in its config)."""
    return _text_config(model_name).get("tokenizer_mode") in WORD_TOKENIZERS


def max_vocabulary(model_name: str) -> int:
    """Most rows of the model's token table, special tokens included; a ``miniclip-*`` has as many as there are words."""
    return int(_text_config(model_name)["vocab_size"])


def vocabulary_of(model_name: str, captions: Iterable[str]) -> list[str]:
    """The word list of a model of ours over these captions."""
    rule = WORD_TOKENIZERS[_text_config(model_name)["tokenizer_mode"]].rule
    return build_vocabulary(captions, max_vocabulary(model_name), rule)


def _text_config(model_name: str) -> dict[str, Any]:
    return (_config(model_name) or {}).get("text_cfg", {})


def _config(model_name: str) -> dict[str, Any] | None:
    register_configs()
    return open_clip.get_model_config(model_name) if ":" not in model_name else None


def make_tokenizer(
    model_name: str,
    vocabulary: list[str] | None = None,
    *,
    context_length: int | None = None,
    cache_dir: str | None = None,
) -> Tokenizer:
    """The tokenizer of a model: our word tokenizer over ``vocabulary`` where its config says so, else OpenCLIP's."""
    if not uses_words(model_name):
        return open_clip.get_tokenizer(
            model_name, cache_dir=cache_dir, context_length=context_length
        )
    if vocabulary is None:
        raise usage(
            f"{model_name} reads words and needs a vocabulary",
            fix="give a checkpoint of ours (it holds one; tools.import_miniclip makes one of MiniCLIP's), or training data to build it from",
        )
    config = _text_config(model_name)
    tokenizer = WORD_TOKENIZERS[config["tokenizer_mode"]]
    return tokenizer(vocabulary, context_length or config["context_length"])


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A checkpoint's content, read without running any code of it.

    Raises:
        UserError: exit 2 when there is no such file, exit 4 when it is torn or holds code.
    """
    if not os.path.isfile(path):
        raise usage("no such checkpoint", where=str(path), fix="check the path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        first_line = str(error).split("\n")[0][:200]
        raise mismatch(
            f"not a whole, safe checkpoint: {first_line}",
            where=str(path),
            fix="give another checkpoint",
        ) from None
    if not isinstance(content, dict):
        raise mismatch(
            "not a checkpoint: it holds no weights by name",
            where=str(path),
            fix="give another checkpoint",
        )
    return content


@contextlib.contextmanager
def _mapped(weights: str | os.PathLike[str] | None) -> Iterator[None]:
    """``torch.load`` maps a file into memory where its format can be mapped, so that who wants a word list does not read the weights.

    Not for what is kept: numbers are read when they are first used, and are gone when the file is written over.
    """
    with serialization.config.patch(
        {"load.mmap": weights is not None and zipfile.is_zipfile(weights)}
    ):
        yield


def _entry(path: str | os.PathLike[str], name: str) -> Any:
    """What a checkpoint of ours says beside its weights; ``None`` where it does not."""
    if os.path.isdir(path):
        return None
    with _mapped(path):
        return load_checkpoint(path).get(name)


HEAD = "embedding_head"
"""First word of the entries that metric learning adds to a checkpoint's weights (``hardpairs.models.head``)."""


PREPROCESS = "preprocess"
"""Entry of a checkpoint of ours: how its pictures were prepared (OpenCLIP's names)."""


def is_weights(pretrained: str | None) -> bool:
    """Whether ``--pretrained`` is a file or folder of weights, and no tag."""
    return pretrained is not None and (
        os.path.isfile(pretrained) or huggingface.is_folder(pretrained)
    )


def checkpoint_weights(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """A checkpoint's weights by OpenCLIP's names, those of a run of several processes and of Hugging Face's CLIP, too."""
    state = _stored_weights(path)
    return huggingface.to_openclip(state) if huggingface.MARK in state else state


def _stored_weights(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    return _weights_in(
        huggingface.read_folder(str(path)) if os.path.isdir(path) else load_checkpoint(path)
    )


def _weights_in(content: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix("module."): value
        for name, value in content.get("state_dict", content).items()
    }


@contextlib.contextmanager
def loadable(pretrained: str | None, model_name: str) -> Iterator[str | None]:
    """Weights as OpenCLIP can load them: where they have the head of metric learning or Hugging Face's names, a copy without, gone after the block.

    Raises:
        UserError: exit 4 when the model has another activation than a Hugging Face folder says.
    """
    with _mapped(pretrained):
        state = (
            _stored_weights(pretrained) if pretrained is not None and is_weights(pretrained) else {}
        )
    foreign = huggingface.MARK in state
    if not foreign and not any(name.startswith(f"{HEAD}.") for name in state):
        yield pretrained
        return
    if foreign and os.path.isdir(str(pretrained)):
        _check_activation(str(pretrained), model_name)
    state = huggingface.to_openclip(state) if foreign else state
    with tempfile.TemporaryDirectory() as folder:
        place = os.path.join(folder, "model.pt")
        torch.save(
            {
                "state_dict": {
                    name: value for name, value in state.items() if not name.startswith(f"{HEAD}.")
                }
            },
            place,
        )
        yield place


def _check_activation(folder: str, model_name: str) -> None:
    config = open_clip.get_model_config(model_name) or {}
    theirs = huggingface.activation(folder) == "quick_gelu"
    if theirs != bool(config.get("quick_gelu")):
        better = f"{model_name}-quickgelu" if theirs else model_name.removesuffix("-quickgelu")
        raise mismatch(
            f"the folder's activation is {huggingface.activation(folder)}, not that of {model_name}",
            where=folder,
            fix=f"--model {better}",
        )


def checkpoint_vocabulary(path: str | os.PathLike[str]) -> list[str] | None:
    """The word list a checkpoint of ours carries; ``None`` for any other."""
    return _entry(path, "vocabulary")


def checkpoint_preprocess(path: str | os.PathLike[str]) -> dict[str, Any]:
    """How a checkpoint's pictures were prepared, as options of OpenCLIP's model makers; empty where it does not say."""
    stored = _entry(path, PREPROCESS) or {}
    names = ("mean", "std", "interpolation", "resize_mode")
    return {
        f"image_{name}": tuple(stored[name]) if isinstance(stored[name], list) else stored[name]
        for name in names
        if name in stored
    }


def checkpoint_image_size(
    path: str | os.PathLike[str], model_name: str
) -> dict[str, tuple[int, int]]:
    """The pictures' size of a run with ``--force-image-size``, as an option of OpenCLIP's model makers; empty where it is the model's own."""
    stored = _entry(path, PREPROCESS) or {}
    theirs, own = (
        _sides(stored.get("size")),
        _sides((_config(model_name) or {}).get("vision_cfg", {}).get("image_size")),
    )
    return {} if theirs is None or theirs == own else {"force_image_size": theirs}


def _sides(size: Any) -> tuple[int, int] | None:
    """(height, width) of a size as configs write it."""
    return None if size is None else (size, size) if isinstance(size, int) else (size[0], size[-1])


def load_encoder(
    model_name: str,
    pretrained: str | None,
    *,
    device: str = "cpu",
    seed: int = 0,
    cache_dir: str | None = None,
    vocabulary: list[str] | None = None,
    resize_mode: str | None = None,
) -> Encoder:
    """Opens a model for embedding.

    Args:
        model_name: an OpenCLIP name, or one of ours (``hardpairs-*``, ``miniclip-*``).
        pretrained: a checkpoint file, an OpenCLIP tag, or ``None`` for seeded random weights (tests).
        vocabulary: of a model that reads words, where no checkpoint of ours brings it.
        resize_mode: ``shortest`` (then cropped), ``longest`` (padded to a square) or ``squash``; default: the checkpoint's, else the model's.

    Raises:
        UserError: exit 2 for unknown names, exit 3 when the weights cannot be had, exit 4 for a torn or foreign checkpoint.
    """
    register_configs()
    if open_clip.get_model_config(model_name) is None and ":" not in model_name:
        raise usage(
            f"unknown model {model_name!r}",
            fix="python -c 'import open_clip; print(open_clip.list_models())'",
        )
    check_device(device)
    preprocess: dict[str, Any] = {}
    if pretrained is not None and is_weights(pretrained):
        vocabulary = checkpoint_vocabulary(pretrained)
        preprocess = {
            **checkpoint_preprocess(pretrained),
            **checkpoint_image_size(pretrained, model_name),
        }
    elif pretrained is not None and pretrained not in open_clip.list_pretrained_tags_by_model(
        model_name
    ):
        raise usage(
            f"no such checkpoint file, and no pretrained tag of {model_name}",
            where=pretrained,
            fix="check the path",
        )
    tokenizer = make_tokenizer(model_name, vocabulary, cache_dir=cache_dir)
    torch.manual_seed(seed)
    preprocess |= {"image_resize_mode": resize_mode} if resize_mode else {}
    with _Unfilled() if pretrained is not None else contextlib.nullcontext():
        model, transform = _create(
            model_name, pretrained, device, cache_dir, vocabulary, **preprocess
        )
    return Encoder(
        model.eval(), transform, tokenizer, _describe(model_name, pretrained, model, seed)
    )


class _Unfilled(TorchFunctionMode):
    """Draws no random numbers for weights that are about to be loaded: they take longer than all else of making a model.

    What is loaded is whole, or refused (OpenCLIP loads strictly), so nothing stays unfilled.
    """

    DRAWS = frozenset(
        {
            nn.init.normal_,
            nn.init.uniform_,
            nn.init.kaiming_uniform_,
            torch.Tensor.normal_,
            torch.Tensor.uniform_,
        }
    )

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in self.DRAWS:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


def check_device(device: str) -> None:
    """Refuses (exit 2) a device that torch does not know or this machine does not have."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise usage(
            f"no such device: {device}", why=str(error).splitlines()[0], fix="--device cpu"
        ) from None


WEIGHTS_ERRORS = (RuntimeError, AssertionError, KeyError)
"""What OpenCLIP raises for an unknown model and for weights of another shape."""


def weights_error(error: Exception, model_name: str, pretrained: str | None) -> UserError:
    """OpenCLIP's error on creating a model, in our words."""
    reason = str(error).splitlines()[-1].strip()[:200]
    if ":" not in model_name and open_clip.get_model_config(model_name) is None:
        return usage(
            f"unknown model {model_name!r}",
            fix="python -c 'import open_clip; print(open_clip.list_models())'",
        )
    if is_weights(pretrained):
        return mismatch(
            f"the checkpoint is not of {model_name}: {reason}",
            where=pretrained,
            fix="--model: the name it was trained with",
        )
    return bad_input(f"the model cannot be made: {reason}", where=str(pretrained))


def create_model_and_transforms(
    model_name: str,
    pretrained: str | None = None,
    *,
    vocabulary: list[str] | None = None,
    **options: Any,
) -> tuple[nn.Module, Callable, Callable]:
    """OpenCLIP's function for its models and ours; the one place where a name becomes a model.

    Args:
        vocabulary: of a ``miniclip-*`` without checkpoint, whose word table has as many rows; without one it has no words as yet.
        options: OpenCLIP's.

    Returns:
        The model, the transform for training, and the one for all else.

    Raises:
        UserError: exit 2 for an unknown name, exit 3 when the weights cannot be had, exit 4 for a torn or foreign checkpoint.
    """
    config = _config(model_name)
    try:
        if not is_miniclip(config):
            with loadable(pretrained, model_name) as weights, _mapped(weights):
                return open_clip.create_model_and_transforms(model_name, weights, **options)
        assert config is not None
        if not pretrained:
            return create_miniclip(config, vocabulary_size=len(vocabulary or ()), **options)
        content = load_checkpoint(pretrained)
        make_tokenizer(
            model_name, content.get("vocabulary")
        )  # refuses a checkpoint that brings none
        state = {
            name: value
            for name, value in _weights_in(content).items()
            if not name.startswith(f"{HEAD}.")
        }
        return create_miniclip(config, state, vocabulary_size=len(content["vocabulary"]), **options)
    except WEIGHTS_ERRORS as error:
        raise weights_error(error, model_name, pretrained) from None


def find_image_weights(model_name: str, choice: str | None, *, fresh: bool) -> Path | None:
    """The file that the image tower of a ``miniclip-*`` starts from, as ``--image-weights`` chooses it; ``None``: there is none to load.

    Args:
        fresh: whether the model starts from no checkpoint.

    Raises:
        UserError: exit 2 for a choice that has no effect or that the tower cannot take, exit 3 when the weights cannot be had.
    """
    config = _config(model_name)
    if is_miniclip(config) and fresh:
        assert config is not None
        return image_weights.find_image_weights(config["vision_cfg"]["tower"], choice)
    if choice is not None and not is_miniclip(config):
        raise usage(
            f"--image-weights {choice} is for models of small towers, and {model_name} is none",
            fix="leave it out",
        )
    return None


def prepare_towers(model: MiniCLIP, vocabulary: list[str] | None, weights: Path | None) -> None:
    """Gives a new model its words, and its image tower the weights that ``find_image_weights`` found."""
    model.text.set_vocabulary_size(SPECIALS + len(vocabulary or ()))
    if weights is not None:
        image_weights.load_image_weights(model.visual, weights, checkpoint_weights)


def _create(
    model_name: str,
    pretrained: str | None,
    device: str,
    cache_dir: str | None,
    vocabulary: list[str] | None = None,
    **preprocess: Any,
) -> tuple[nn.Module, Callable]:
    options = {"device": device, "cache_dir": cache_dir, **preprocess}
    model, _, transform = create_model_and_transforms(
        model_name, pretrained, vocabulary=vocabulary, **options
    )
    return model, transform


def freeze_statistics(model: nn.Module) -> nn.Module:
    """The model with batch norms that keep the statistics they have (``--freeze-bn-stats``).

    In OpenCLIP's way scales and shifts are no longer trained either; those of a ``miniclip-*`` are.
    """
    if not isinstance(model, MiniCLIP):
        return open_clip.utils.freeze_batch_norm_2d(model)
    model.visual.freeze_statistics()
    return model


def _describe(
    model_name: str, pretrained: str | None, model: nn.Module, seed: int
) -> dict[str, Any]:
    if pretrained is None:
        weights = f"random, seed {seed}"
    else:
        weights = (
            f"sha256:{sha256_file(huggingface.weights_file(pretrained))}"
            if is_weights(pretrained)
            else f"tag:{pretrained}"
        )
    return {"model": model_name, "weights": weights, "preprocess": preprocess_of(model)}


def preprocess_of(model: nn.Module) -> dict[str, Any]:
    """How a model's pictures are prepared, by OpenCLIP's names, as JSON has it."""
    found = open_clip.get_model_preprocess_cfg(model)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}
