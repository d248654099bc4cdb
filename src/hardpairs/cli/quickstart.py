"""Go from real pairs and a pretrained model to an honest comparison, on one page, without a GPU.

Usage:

    hardpairs quickstart              # 20 minutes of processor time, on two cores
    hardpairs quickstart --seeds 3    # repeats the continuations, for mean and spread
    hardpairs quickstart --offline    # photographs of stickers, made here, and a model from nothing
    hardpairs quickstart --small      # colored shapes: one minute, without a package, too

Each step is a command that one would run on real data; it is printed before it runs. Finished steps
are not repeated: after Ctrl-C the same line goes on. Where a step is done again, all steps after it
are, too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hardpairs.core.errors import Exit, whole_number
from hardpairs.core.parser import Parser
from hardpairs.demo.quickstart import NORMAL, OFFLINE, OWN_DATA, SMALL, quickstart_steps
from hardpairs.demo.steps import enough_space, run_steps, sigterm_as_interrupt

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # the tensors are tiny: a second thread costs more than it gives
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "WANDB_MODE": "disabled",
}


def main(argv: list[str] | None = None) -> int:
    """Run the steps that are not finished, and print the results."""
    args = parse_args(argv)
    settings = SMALL if args.small else OFFLINE if args.offline else NORMAL
    out = args.out or Path("runs") / settings.name
    data = args.data or Path("data") / settings.name
    enough_space(out, 2000)
    data.mkdir(parents=True, exist_ok=True)
    steps = quickstart_steps(settings, data, out, args.seeds)
    with sigterm_as_interrupt():
        run_steps(steps, out, force=args.force, environment=ENVIRONMENT)
    print((out / "logs/report.out").read_text(encoding="utf-8"), end="")
    print(OWN_DATA.format(page=out / "report.html"))
    return Exit.OK


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line; ``scripts/quickstart.sh`` does so before there are packages."""
    parser = Parser(prog="hardpairs quickstart", description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--seeds", type=whole_number(1), default=1, metavar="N", help="repeat the continuations")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--offline",
        action="store_true",
        help="photographs of stickers and a model from nothing, where no package can be fetched",
    )
    form.add_argument(
        "--small", action="store_true", help="colored shapes, likewise without packages: one minute"
    )
    add("--force", action="store_true", help="run finished steps again")
    add("--out", type=Path, metavar="DIR", help="folder for results (default: runs/quickstart)")
    add(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder for the data (default: data/quickstart); what is finished there is used",
    )
    return parser.parse_args(argv)
