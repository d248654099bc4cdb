"""Write a model as a folder that OpenCLIP, CLIP_benchmark and MTEB load.

    hardpairs export model --model ViT-B-32 --pretrained epoch_5.pt --out my-clip --run logs/hard

The folder has OpenCLIP's configuration and weights (safetensors), a model card with the numbers of
the run, and mteb_model.py. Then ``open_clip.create_model_and_transforms("local-dir:my-clip")``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.errors import Exit, flags
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_exists, check_weights


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="hardpairs export model",
        description="Write a model as a folder that OpenCLIP, CLIP_benchmark and MTEB load.",
    )
    parser.add_argument("--model", required=True, help="a model of OpenCLIP, or local-dir:FOLDER")
    parser.add_argument("--pretrained", required=True, help="checkpoint file or OpenCLIP tag")
    parser.add_argument("--out", required=True, type=Path, help="the folder to write")
    parser.add_argument(
        "--run", type=Path, help="run folder whose evaluation.json goes into the model card"
    )
    parser.add_argument("--license", default="", help="of the weights, for the card, such as mit")
    return parse_arguments(parser, "export model", argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = _parse(argv)
    check_weights(args.pretrained)
    if args.run:
        check_exists(args.run, "run folder")
    from hardpairs.models.export import check_exportable, export_model, read_evaluation
    from hardpairs.models.load import load_encoder

    with flags(["model", "pretrained"]):
        check_exportable(args.model)
        encoder = load_encoder(args.model, args.pretrained)
    card = {"license_name": args.license}
    if args.run:
        card["evaluation"] = read_evaluation(args.run, encoder.description["weights"])
    export_model(encoder, args.model, args.out, card)
    print(args.out)
    print(f"load it with OpenCLIP as local-dir:{args.out}", file=sys.stderr)
    return Exit.OK
