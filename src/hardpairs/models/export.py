"""Write a model as a folder that OpenCLIP, CLIP_benchmark and MTEB load.

FOLDER/open_clip_config.json        the model's configuration and preprocessing
FOLDER/open_clip_model.safetensors  the weights
FOLDER/README.md                    the model card
FOLDER/mteb_model.py                the model as MTEB calls it

A trained model of a folder (``local-dir:FOLDER``) also has that folder's tokenizer, configuration
of the text tower and licenses.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardpairs.core.atomic import write_json, write_text
from hardpairs.core.errors import bad_input, mismatch, usage
from hardpairs.core.parse import parse_json
from hardpairs.models import mteb_model
from hardpairs.models.create import preprocess_of
from hardpairs.models.load import Encoder
from hardpairs.models.miniclip.model import is_miniclip
from hardpairs.models.model_config import model_config, uses_words
from hardpairs.models.model_folder import CONFIG, TOKENIZERS, WEIGHTS, model_folder
from hardpairs.models.weight_files import save_safetensors

COPIED = (
    *TOKENIZERS,
    *("config.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "merges.txt"),
)
"""Files of a model's folder that its text tower and tokenizer need."""
LICENSES = "licenses"
SHOWN = r"(image_to_text|text_to_image)_(R@\d+|median_rank|mAP@10)"
"""Names of the numbers of evaluation.json that the card has."""


def check_exportable(model_name: str) -> dict[str, Any]:
    """Return the configuration of a model that OpenCLIP alone can make.

    Raises:
        UserError: Exit 2 for a model with towers or words of ours, or of a hub.
    """
    config = model_config(model_name)
    if config is None:
        raise usage(
            f"{model_name} is no model of OpenCLIP by name",
            fix="a model of a hub has the form already",
        )
    if is_miniclip(config) or uses_words(model_name):
        raise usage(
            f"{model_name} has words or towers of ours, which OpenCLIP cannot make",
            fix="export a model of OpenCLIP",
        )
    if "hf_model_name" in config.get("text_cfg", {}) and model_folder(model_name) is None:
        raise usage(
            f"{model_name} has a text tower of Hugging Face, which is not exported",
            fix="open_clip.push_to_hf_hub writes such models",
        )
    return config


def export_model(
    encoder: Encoder, model_name: str, out: Path, card: Mapping[str, Any] | None = None
) -> None:
    """Write the folder of a model.

    Args:
        encoder: The model with its weights.
        model_name: Its name.
        out: The folder.
        card: Arguments of ``model_card`` besides the first two.

    Raises:
        UserError: Exit 2 for a model that cannot be exported, and for its own folder as ``out``.
    """
    config, source = check_exportable(model_name), model_folder(model_name)
    if source is not None:
        _copy_text_files(source, out)
    preprocess = preprocess_of(encoder.model)
    size = preprocess["size"]
    if isinstance(size, list) and len(set(size)) == 1:
        size = size[0]  # as OpenCLIP's own configurations say it
    vision = {**config["vision_cfg"], "image_size": size}
    names = ("mean", "std", "interpolation", "resize_mode")
    weights = {
        name: value.detach().cpu().contiguous()
        for name, value in encoder.model.state_dict().items()
    }
    save_safetensors(weights, out / WEIGHTS)
    write_json(
        out / CONFIG,
        {
            "model_cfg": {**config, "vision_cfg": vision},
            "preprocess_cfg": {name: preprocess[name] for name in names},
        },
    )
    write_text(out / "mteb_model.py", Path(mteb_model.__file__).read_text(encoding="utf-8"))
    write_text(out / "README.md", model_card(encoder.description, out.name, **(card or {})))


def _copy_text_files(source: Path, out: Path) -> None:
    """Copy what a folder has for its text tower, and its licenses."""
    if out.exists() and out.samefile(source):
        raise usage(
            "the model would be written over the one that it was trained from",
            where=str(out),
            fix="another `out`",
        )
    out.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    if (source / LICENSES).is_dir():
        shutil.copytree(source / LICENSES, out / LICENSES, dirs_exist_ok=True)


def model_card(
    description: Mapping[str, Any],
    name: str,
    *,
    license_name: str = "",
    evaluation: Mapping[str, Any] | None = None,
) -> str:
    """Return a model card in Hugging Face's form.

    Args:
        description: ``model``, ``weights`` and ``preprocess`` of the model.
        name: Name of the folder.
        license_name: License of the weights; empty if it is not said.
        evaluation: What the evaluation.json of these weights holds.
    """
    head = ["library_name: open_clip", "pipeline_tag: zero-shot-image-classification"]
    head += ["tags: [clip]", *([f"license: {license_name}"] if license_name else [])]
    parts = [
        "\n".join(["---", *head, "---"]),
        f"# {name}",
        f"A CLIP model with the towers of `{description['model']}`.",
        "\n".join(
            [
                "```python",
                "import open_clip",
                "",
                f'model, _, transform = open_clip.create_model_and_transforms("local-dir:{name}")',
                f'tokenizer = open_clip.get_tokenizer("local-dir:{name}")',
                "```",
            ]
        ),
        f"CLIP_benchmark takes it as `--model local-dir:{name}`, MTEB as `Model()` of "
        "`mteb_model.py`.",
        f"Weights: {description['weights']}. Preprocessing: "
        f"`{json.dumps(description['preprocess'])}`.",
    ]
    return "\n\n".join([*parts, *_numbers(evaluation or {})]) + "\n"


def _numbers(evaluation: Mapping[str, Any]) -> list[str]:
    """Return the paragraphs on what was measured."""
    rows = [["", "value"]]
    rows += [
        [name.replace("_", " "), f"{value:.4g}"]
        for name, value in evaluation.items()
        if re.fullmatch(SHOWN, name)
    ]
    if len(rows) == 1:
        return []
    about = f"{evaluation['images']} images and {evaluation['texts']} captions"
    lines = [f"| {label} | {value} |" for label, value in rows]
    return [
        "## Retrieval",
        f"On {about} of `{Path(str(evaluation.get('data', ''))).name}`; shares are fractions.",
        "\n".join([lines[0], "|---|---:|", *lines[1:]]),
    ]


def read_evaluation(folder: Path, weights: str) -> dict[str, Any]:
    """Return the evaluation.json of a run, which has to be of these weights.

    Args:
        folder: The run folder.
        weights: ``weights`` of the model's description.

    Raises:
        UserError: Exit 3 for a folder without one, exit 4 for that of another model.
    """
    path = folder / "evaluation.json"
    try:
        record: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))
        measured = record["weights"]
    except (OSError, ValueError, KeyError, TypeError):
        raise bad_input(
            "no evaluation.json of ours",
            where=str(folder),
            fix=f"hardpairs evaluate ... --out {folder} writes it",
        ) from None
    if measured != weights:
        raise mismatch(
            "the evaluation is of other weights",
            where=f"{path}: {str(measured)[:24]}, the model: {weights[:24]}",
            why="the card would tell numbers of another model",
            fix="evaluate this checkpoint (hardpairs evaluate)",
        )
    return record
