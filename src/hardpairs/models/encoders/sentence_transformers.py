"""Any sentence-transformers text model, by its name on the hub or from a local folder.

The package of that name is optional and imported only here.
"""

from __future__ import annotations

import importlib.util
import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardpairs.core.components import Options, option, register
from hardpairs.core.errors import bad_input, usage
from hardpairs.models.checkpoint import verify_weights
from hardpairs.models.download import fetching
from hardpairs.models.encoders.base import EncoderContext, TextEncoder, plain, weights_hash

INSTALL = "pip install sentence-transformers, which is the extra openclip-hardpairs[text-encoders]"


@register("sentence-transformers")
class SentenceTransformersEncoder(TextEncoder):
    """A text model of sentence-transformers."""

    @dataclass(frozen=True)
    class Config(Options):
        """Options of a model of sentence-transformers."""

        name: str = option(
            "",
            "its name on the hub, or a folder that sentence-transformers saved",
            flag="--text-encoder",
        )

    @classmethod
    def from_config(cls, config: Config, context: EncoderContext) -> SentenceTransformersEncoder:
        """Load the model. From a folder, nothing is fetched.

        Raises:
            UserError: Exit 2 without the package, exit 3 when the model cannot be had or does not
                say how tokens become one vector.
        """
        name = config.name
        if importlib.util.find_spec("sentence_transformers") is None:
            raise usage(
                f"`text_encoder` {name} needs sentence-transformers, which is not installed",
                fix=INSTALL,
            )
        from sentence_transformers import SentenceTransformer

        is_folder = os.path.isdir(name)
        if is_folder:
            _check_modules(Path(name) / "modules.json", name)
            for folder in (Path(name), *sorted(Path(name).glob("[0-9]_*/"))):
                verify_weights(folder)
        with nullcontext() if is_folder else fetching(name, ("modules.json",)):
            try:
                model = SentenceTransformer(name, device=context.device).eval()
            except Exception as error:  # the hub's, safetensors' and transformers' own
                reason = " ".join(str(error).split())[:300]
                raise bad_input(
                    f"the text encoder {name} cannot be had: {reason}",
                    fix="give a folder that holds it",
                ) from None
        if not is_folder:
            from huggingface_hub import try_to_load_from_cache

            _check_modules(Path(str(try_to_load_from_cache(name, "modules.json"))), name)
        prompt = model.prompts.get(model.default_prompt_name) if model.default_prompt_name else None
        description = {
            "model": os.path.basename(os.path.normpath(name)) if is_folder else name,
            "weights": weights_hash(model),
            "preprocess": plain({"max_tokens": model.max_seq_length, "prompt": prompt}),
        }

        def encode(captions: list[str]) -> Any:
            return model.encode(
                captions, batch_size=len(captions), convert_to_tensor=True, show_progress_bar=False
            )

        return cls(_same, encode, description)


def _same(captions: list[str]) -> list[str]:
    return captions


def _check_modules(path: Path, name: str) -> None:
    """Refuse a model without ``modules.json``, for which the package would make up a pooling."""
    if not path.is_file():
        raise bad_input(
            f"{name} has no modules.json",
            why="it does not say how the tokens of a caption become one vector, and a guess gives "
            "other embeddings",
            fix="give a model that sentence-transformers saved",
        )
