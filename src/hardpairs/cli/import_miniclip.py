r"""Make a checkpoint of ours from one of MiniCLIP's, which has no vocabulary of its own.

    hardpairs import-miniclip checkpoints/best_model_lstm.pth \
        --captions-json data/captions.json --out miniclip-lstm.pt

Prints the model's name, which goes with it from then on:
hardpairs evaluate --model miniclip-lstm --pretrained miniclip-lstm.pt ...
The captions.json must be the one that it was trained with: the number of its words is the number of
rows of the word table.
"""

from __future__ import annotations

from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.errors import Exit
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_exists


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    parser = Parser(
        prog="hardpairs import-miniclip", description="Import a checkpoint of MiniCLIP."
    )
    parser.add_argument("checkpoint", help="best_model_lstm.pth or best_model_transformer.pth")
    parser.add_argument(
        "--captions-json", required=True, help="the captions that it was trained with"
    )
    parser.add_argument("--out", required=True, type=Path)
    args = parse_arguments(parser, "import-miniclip", argv)
    check_exists(args.checkpoint, "checkpoint")
    check_exists(args.captions_json, "file")
    from hardpairs.compat.miniclip_checkpoint import import_checkpoint  # imports PyTorch

    print(import_checkpoint(args.checkpoint, args.captions_json, args.out))
    return Exit.OK
