"""A process that embeds a table into a folder, and ends or stops where it is told to.

python -m tests.embedding.sharing TABLE OUT [--at PLACE SIGNAL] [--host NAME] [--slow SECONDS]
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import socket
import time

from hardpairs.core.errors import run_command
from hardpairs.data import embeddings
from hardpairs.data.opening import open_samples
from hardpairs.embedding import joining
from hardpairs.embedding.embed import embed_to_folder
from hardpairs.embedding.parts import Parts
from tests.embedding.colors import simple_encoders

OPTIONS = {"part_rows": 3, "batch_size": 2, "workers": 0, "lease_seconds": 0.5}
PLACES = {
    "a part is encoded": (Parts, "save", 2),
    "joining begins": (joining, "_counted", 0),
    "parts are being joined": (joining, "_with_texts", 3),
    "all but the manifest is there": (embeddings, "write_manifest", 0),
    "all is there": (Parts, "remove", 0),
}
"""The functions that are called there, and at which call."""


def act_at(place: str, action) -> None:
    """Call ``action`` before a function of ours is called for the n-th time."""
    owner, name, last = PLACES[place]
    original, calls = getattr(owner, name), itertools.count()

    def call(*arguments, **options):
        if next(calls) == last:
            action()
        return original(*arguments, **options)

    setattr(owner, name, call)


def slowly(seconds: float) -> None:
    """Let each part take some seconds more, and tell who made it: OUT.made/NUMBER-PROCESS."""
    save = Parts.save

    def saved(self: Parts, number: int, part) -> None:
        time.sleep(seconds)
        folder = self.out.with_suffix(".made")
        folder.mkdir(exist_ok=True)
        (folder / f"{number}-{os.getpid()}").touch()
        save(self, number, part)

    Parts.save = saved


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("out")
    parser.add_argument("--at", nargs=2)
    parser.add_argument("--host")
    parser.add_argument("--slow", type=float)
    args = parser.parse_args()
    if args.host:
        socket.gethostname = lambda: args.host
    if args.at:
        act_at(args.at[0], lambda: os.kill(os.getpid(), signal.Signals[args.at[1]]))
    if args.slow:
        slowly(args.slow)
    samples = open_samples(args.table)
    run_command(lambda: embed_to_folder(samples, simple_encoders(), args.out, **OPTIONS))


if __name__ == "__main__":
    main()
