"""Makes a checkpoint of ours of one of MiniCLIP's, which has no vocabulary of its own.

    python -m tools.import_miniclip checkpoints/best_model_lstm.pth --captions-json data/captions.json --out miniclip-lstm.pt

Prints the model's name, which goes with it from then on: tools.evaluate --model miniclip-lstm --pretrained miniclip-lstm.pt ...
The captions.json must be the one that it was trained with: its words, counted, are the rows of the word table.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.atomic import atomic_open
from hardpairs.core.errors import Exit
from hardpairs.data.samples import open_samples
from hardpairs.models.miniclip.seed import read_seed_checkpoint


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="hardpairs import-miniclip", description="Import a checkpoint of MiniCLIP."
    )
    parser.add_argument("checkpoint", help="best_model_lstm.pth or best_model_transformer.pth")
    parser.add_argument(
        "--captions-json",
        "--captions_json",
        required=True,
        help="the captions that it was trained with",
    )
    parser.add_argument("--out", required=True, type=Path)
    args = parse_arguments(parser, "import-miniclip", argv)
    print(import_checkpoint(args.checkpoint, args.captions_json, args.out))
    return Exit.OK


def import_checkpoint(checkpoint: str, captions_json: str, out: Path) -> str:
    """Writes a checkpoint of ours; returns its model's name.

    Raises:
        UserError: as ``read_seed_checkpoint`` and ``open_samples``.
    """
    found = read_seed_checkpoint(checkpoint, open_samples(captions_json).captions)
    with atomic_open(out) as file:
        torch.save(
            {
                "epoch": found.epoch,
                "name": found.model_name,
                "state_dict": found.state,
                "vocabulary": found.vocabulary,
            },
            file,
        )
    print(
        f"{out}: {len(found.vocabulary)} words, {found.epoch} epochs; compare its numbers with those you know",
        file=sys.stderr,
    )
    return found.model_name
