"""Shows the batches that a training command would train on, without training: counts, similarity, and pictures on one offline page.

    python -m tools.inspect_batches --out batches.html --train-data pairs.csv --csv-separator , --use-hard \\
        --hard-dict-dir OUT/pairs_hard_sample.csv --batch-size 64 --embeddings EMB

Takes all flags of ``training.main`` and reads those that matter for the batches, so that a training command can be given as it is.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from hardpairs.batches import open_stored_embeddings
from hardpairs.cli.command_line import command_arguments
from hardpairs.core.atomic import write_text
from hardpairs.core.errors import Exit, usage, whole_number
from hardpairs.pages.pictures import Album
from hardpairs.pages.template import render_template
from hardpairs.reporting import batch_page
from hardpairs.reporting.batch_page import BatchPage
from hardpairs.reporting.batch_statistics import alike, seen
from hardpairs.training.data import make_sampler, open_training_samples
from hardpairs.training.upstream import patched


def parse_args(argv: list[str] | None = None) -> tuple[argparse.Namespace, argparse.Namespace]:
    """(ours, those of training, checked as the trainer checks them)."""
    parser = argparse.ArgumentParser(
        prog="hardpairs inspect batches",
        description="Show the batches that a training command would train on.",
        epilog="All other flags are those of python -m training.main.",
        allow_abbrev=False,
    )
    parser.add_argument("--out", required=True, type=Path, help="the page")
    parser.add_argument(
        "--embeddings", help="stored embeddings, to say how alike the rows of a batch are"
    )
    parser.add_argument(
        "--processes",
        type=whole_number(1),
        default=1,
        help="processes of the training run; --batch-size is that of one",
    )
    parser.add_argument(
        "--epoch", type=whole_number(0), default=0, help="pass over the data to look at, from 0"
    )
    parser.add_argument("--shown", type=whole_number(1), default=4, help="batches that are drawn")
    ours, rest = parser.parse_known_args(command_arguments("train", argv))
    training = patched("params").parse_args(
        [*rest, "--name", ""]
    )  # a name would be refused where that run exists
    if training.batching is None:
        raise usage(
            "these flags leave the batches to OpenCLIP",
            fix="--use-hard, or --batching random, topical, ...",
        )
    return ours, training


def make_page(ours: argparse.Namespace, training: argparse.Namespace, command: str) -> BatchPage:
    samples = open_training_samples(training)
    # A global batch does not depend on how many ranks share it: one rank that holds all of it is the same batch.
    whole = {**vars(training), "batch_size": training.batch_size * ours.processes}
    sampler = make_sampler(argparse.Namespace(**whole), samples, rank=0, world_size=1)
    plain = make_sampler(
        argparse.Namespace(**{**whole, "batching": "random"}), samples, rank=0, world_size=1
    )
    stored = ours.embeddings or training.batching_embeddings
    embeddings = open_stored_embeddings(stored, samples, verify=True) if stored else None
    counted = seen(sampler, ours.epoch)
    return BatchPage(
        title=f"Batches: {training.batching}",
        sentences=batch_page.sentences(sampler, counted, ours.processes),
        comparison=batch_page.comparison(
            *(alike(s, ours.epoch, samples.positives, embeddings) for s in (sampler, plain))
        ),
        seen=batch_page.seen_lines(counted),
        epoch=ours.epoch,
        batches=batch_page.drawn(sampler, ours.epoch, Album(samples), sampler.table, ours.shown),
        command=command,
    )


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    ours, training = parse_args(argv)
    content = make_page(
        ours, training, shlex.join(["python", "-m", "tools.inspect_batches", *argv])
    )
    write_text(ours.out, render_template("batches.html.j2", page=content))
    print(batch_page.terminal_text(content))
    print(f"\npage: {ours.out}")
    return Exit.OK
