r"""Train further on your own pairs in several ways and compare: does any recipe help here?

    hardpairs embed ... --out EMB                      # once, with the model that you start from
    hardpairs compare recipes data.csv --embeddings EMB --out study
    hardpairs compare open-test study                  # once, at the end

Each recipe trains light heads over the stored embeddings, on several splits and seeds. Heads over a
CLIP model's embeddings start as that model; others are trained until validation stops rising.
Settings are chosen on validation data; the test data stays closed until ``open-test``. The same
command goes on with a study that was stopped. A recipe of your own is flags of the trainer, with
several settings separated by "|":

    --recipe "mine: --batching hard-pairs --hard-topk 5 | --batching hard-pairs --hard-topk 20"

With --full the trainer trains the whole model instead, from --model and --pretrained; flags after
-- go to every run. Over features of its towers (hardpairs embed --without-projection) heads are
trained first, and runs start with these as projections.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, data_options, open_named
from hardpairs.core.errors import Exit, flags, usage, whole_number
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_exists, check_weights

if TYPE_CHECKING:
    from hardpairs.recipes.whole_models import WholeModel


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(
        prog="hardpairs compare recipes",
        description="Does any recipe make a better model of your own pairs?",
        epilog="The test data stays closed until: hardpairs compare open-test OUT",
    )
    _add_study(parser)
    _add_whole_model(parser)
    add_data_flags(parser)
    words = sys.argv[1:] if argv is None else argv
    end = words.index("--") if "--" in words else len(words)
    args = parse_arguments(parser, "compare recipes", words[:end])
    args.more = words[end + 1 :]
    if args.full != (args.model is not None):
        raise usage("--full and --model go together")
    if not args.full and (args.pretrained or args.more):
        raise usage("--pretrained and flags after -- belong to --full")
    return args


def _add_study(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("data", help="table, shards or folder of image-text pairs")
    add("--embeddings", required=True, help="their embeddings, of hardpairs embed")
    add("--out", type=Path, required=True, help="folder of the study")
    add(
        "--recipes",
        help="names, separated by commas (default: ten of hardpairs list recipes)",
    )
    add("--recipe", action="append", default=[], metavar="NAME:FLAGS", help="a recipe of your own")
    add(
        "--split-key",
        metavar="COLUMN",
        help="column of the table whose equal values stay in one part, as groups and captions do",
    )
    add(
        "--splits",
        type=whole_number(1),
        default=5,
        help="random splits by group (default: %(default)s)",
    )
    add(
        "--seeds",
        type=whole_number(1),
        default=3,
        help="runs of each recipe and split (default: %(default)s)",
    )
    add(
        "--epochs",
        type=whole_number(1),
        default=10,
        help="epochs of the plain recipe; others train on as many rows (default: %(default)s)",
    )
    add(
        "--batch-size",
        type=whole_number(2),
        default=64,
        help="rows of its batches (default: %(default)s)",
    )
    add(
        "--lr",
        type=float,
        nargs="+",
        default=[1e-4, 1e-3],
        help="learning rates to choose from (default: %(default)s)",
    )
    add(
        "--width",
        type=whole_number(2),
        help="of the joint embedding (default: that of the embeddings; 256 where images and "
        "captions have different ones)",
    )
    add(
        "--jobs",
        type=whole_number(1),
        default=max(1, len(os.sched_getaffinity(0)) // 2),
        help="processes (default: %(default)s)",
    )


def _add_whole_model(parser: argparse.ArgumentParser) -> None:
    whole = parser.add_argument_group("the whole model")
    whole.add_argument("--full", action="store_true", help="train it, instead of heads")
    whole.add_argument("--model", help="OpenCLIP model")
    whole.add_argument(
        "--pretrained",
        help="its weights, where every run starts (default: those in local-dir:FOLDER)",
    )
    whole.add_argument(
        "--processes",
        type=whole_number(1),
        default=1,
        help="of each run, on this machine (default: %(default)s)",
    )
    whole.add_argument("--device", help="default: cuda where there is one, otherwise cpu")


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parse_args(argv)
    check_exists(args.data)
    check_exists(args.embeddings, "folder")
    if not all(rate > 0 for rate in args.lr):
        raise usage(f"--lr must be positive, not {args.lr}")
    from hardpairs.recipes.recipe import DEFAULT, read_recipes

    names = DEFAULT if args.recipes is None else [n.strip() for n in args.recipes.split(",")]
    recipes = read_recipes(filter(None, names), args.recipe)
    from hardpairs.recipes.plan import plan_study
    from hardpairs.recipes.study import Study, run_study
    from hardpairs.recipes.table import validation_markdown

    plan = plan_study(
        open_named(args.data, args),
        data_options(args),
        os.path.abspath(args.embeddings),
        recipes,
        splits=args.splits,
        seeds=args.seeds,
        epochs=args.epochs,
        batch_size=args.batch_size,
        rates=args.lr,
        width=args.width,
        split_key=args.split_key,
        whole=_whole_model(args) if args.full else None,
    )
    study = Study.begin(args.out.absolute(), plan)
    jobs = 1 if args.full else args.jobs
    print(validation_markdown(run_study(study, jobs)), end="")
    print(f"the test data: hardpairs compare open-test {args.out}", file=sys.stderr)
    return Exit.OK


def _whole_model(args: argparse.Namespace) -> WholeModel:
    """Return the model that ``--full`` trains."""
    from hardpairs.core.devices import choose_device
    from hardpairs.models.checkpoint import weights_identity
    from hardpairs.models.model_folder import absolute_name, folder_weights, needs_weights
    from hardpairs.recipes.whole_models import WholeModel

    pretrained = args.pretrained or folder_weights(args.model)
    if pretrained is None:
        with flags(vars(args)):
            raise needs_weights(args.model)
    check_weights(pretrained)
    if os.path.exists(pretrained):
        pretrained = os.path.abspath(pretrained)
    return WholeModel(
        absolute_name(args.model),
        pretrained,
        weights_identity(pretrained),
        args.processes,
        choose_device(args.device),
        args.more,
    )
