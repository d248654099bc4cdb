"""Makes one offline page of finished runs: results, curves, examples, hard pairs, batches, and how all of it came about.

    python -m tools.report runs/a runs/b --out report.html
    python -m tools.report runs/quickstart/{base,plain,hard} --out report.html --steps steps.tsv --summary summary.json

Each RUN is a folder that tools.evaluate wrote into; a training run's own folder shows its curves too. Runs evaluated with one --method
are seeds of it. Prints the results as a table. The pictures are found through the paths in the runs' own files, from the folder in
which those were given; what is not there any more is left out, and the page says so.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hardpairs.cli.command_line import parse_arguments
from hardpairs.core.atomic import write_json, write_text
from hardpairs.core.errors import Exit, UserError
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.manifest import check_same_dataset
from hardpairs.data.samples import Samples, open_samples
from hardpairs.evaluating.compare import Comparison, compare
from hardpairs.evaluating.runs import Method, Run, read_methods
from hardpairs.pages import charts as figures
from hardpairs.pages.pictures import Album
from hardpairs.reporting import mined, provenance, wording
from hardpairs.reporting.examples import example_queries
from hardpairs.reporting.page import HardPairs, Page, render
from hardpairs.reporting.summary import summary, terminal_table, versions

T = TypeVar("T")


class Missing:
    """Notes what could not be opened, so that the page says what it leaves out."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def attempt(self, what: str, make: Callable[[], T]) -> T | None:
        """The result, or ``None`` and a note when inputs are not there; a mismatch is not forgiven."""
        try:
            return make()
        except UserError as error:
            if error.code not in (Exit.USAGE, Exit.BAD_INPUT):
                raise
            self.notes.append(f"{what} ({error.what}: {error.where})")
            return None


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hardpairs report", description="Make one offline page of finished runs."
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folder that tools.evaluate wrote into"
    )
    parser.add_argument("--out", required=True, type=Path, help="the page")
    parser.add_argument(
        "--steps", type=Path, help="lines of step, seconds and command, with tabs between"
    )
    parser.add_argument("--summary", type=Path, help="also write the numbers as JSON")
    parser.add_argument("--title", help="title of the page")
    return parse_arguments(parser, "report", argv)


def evaluated_samples(run: Run) -> Samples:
    """The data a run was evaluated on.

    Raises:
        UserError: exit 2 or 3 when it is not there or not readable, exit 4 when it is other data by now.
    """
    source = str(run.record.get("data"))
    samples = open_samples(source)
    known = run.record.get("dataset_fingerprint")
    check_same_dataset(
        samples.fingerprint,
        known,
        ours_name=source,
        theirs_name=str(run.folder / "evaluation.json"),
    )
    return samples


def mined_run(methods: list[Method]) -> Run | None:
    """The first run that was trained with hard pairs; without one, the first trained run."""
    trained = [run for method in methods for run in method.runs if run.params.get("train_data")]
    return next(
        (run for run in trained if run.params.get("hard_dict_dir")), trained[0] if trained else None
    )


def hard_pairs_part(run: Run, samples: Samples, table: HardPairTable) -> HardPairs:
    """Examples of the table and a batch drawn from it."""
    album = Album(samples)
    top = (
        np.asarray(table.scores[:, 0])[np.asarray(table.lengths) > 0]
        if table.has_scores
        else np.zeros(0)
    )
    return HardPairs(
        statistics=mined.statistics(table),
        options=table.manifest.get("options") or {},
        histogram=figures.histogram(top) if len(top) else [],
        anchors=mined.anchors(table, album),
        lookalikes=mined.lookalikes(table, album),
        batches=mined.batches(run, table, album),
        depth=int(run.params["hard_topk"]),
    )


def downloads_part(
    run: Run | None, training: Samples | None, record: dict[str, Any], evaluated: Samples | None
) -> list[provenance.Download]:
    """What was lost of the training and of the evaluation data."""
    found = []
    if run is not None and training is not None:
        params = run.params
        found.append(
            provenance.download(
                params["train_data"],
                training,
                image_key=params["csv_img_key"],
                separator=params["csv_separator"],
            )
        )
    if evaluated is not None:
        found.append(
            provenance.download(
                str(record["data"]), evaluated, image_key="filepath", separator=None
            )
        )
    return [entry for entry in found if entry is not None]


def fingerprints(
    methods: list[Method], training: Samples | None, table: HardPairTable | None
) -> list[tuple[str, str]]:
    """Identity of data, table and weights."""
    prints = [("evaluation data", str(methods[0].first.record.get("dataset_fingerprint")))]
    if training is not None:
        prints.append(("training data", training.fingerprint))
    if table is not None:
        prints.append(("hard pair table", table.manifest["sha256"]))
    for method in methods:
        for run in method.runs:
            name = f"weights: {method.label}" + (
                f", seed {run.seed}" if len(method.runs) > 1 else ""
            )
            prints.append((name, str(run.record.get("weights")).removeprefix("sha256:")))
    return prints


def make_page(
    comparison: Comparison, title: str | None, steps: list[provenance.Step]
) -> tuple[Page, dict[str, Any]]:
    """The whole page, and the statistics of the training table."""
    methods, missing = list(comparison.methods), Missing()
    run, record = mined_run(methods), comparison.methods[0].first.record
    evaluated = missing.attempt("example queries", lambda: evaluated_samples(methods[0].first))
    training, table = (
        missing.attempt("hard pairs and batches", lambda: mined.open_training(run)) if run else None
    ) or (None, None)
    places = [
        str(place)
        for place in (run.params["train_data"] if run else None, record.get("data"))
        if place
    ]
    manifest = provenance.demo_manifest(*places)
    found = (
        hard_pairs_part(run, training, table)
        if run and training is not None and table is not None
        else None
    )
    page = Page(
        title=title
        or ("What hard pairs changed" if found and comparison.hero else "Retrieval results"),
        comparison=comparison,
        done=wording.what_was_done(
            comparison,
            pairs=len(training) - len(training.rejected) if training is not None else None,
            depth=table.indices.shape[1] if table is not None else None,
        ),
        verdicts=wording.verdicts(comparison),
        warnings=wording.warnings(comparison),
        small_print=wording.small_print(comparison, manifest),
        intervals=figures.intervals(comparison),
        charts=figures.training_charts(methods)
        + figures.weight_chart(methods)
        + figures.validation_charts(methods),
        examples=example_queries(comparison, Album(evaluated)) if evaluated is not None else {},
        hard_pairs=found,
        downloads=downloads_part(run, training, record, evaluated),
        steps=steps,
        settings=provenance.settings(methods),
        versions=versions(),
        fingerprints=fingerprints(methods, training, table),
        licences=[manifest["licence"]] if manifest else [],
        left_out=missing.notes,
    )
    return page, found.statistics if found else {}


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    steps = provenance.read_steps(args.steps)
    comparison = compare(read_methods(args.runs))
    page, statistics = make_page(comparison, args.title, steps)
    write_text(args.out, render(page))
    if args.summary:
        write_json(
            args.summary,
            summary(
                comparison, seconds={step.name: step.seconds for step in steps}, mined=statistics
            ),
        )
    for note in page.left_out:
        print(f"left out: {note}", file=sys.stderr)
    print(terminal_table(comparison))
    print(f"\nreport: {args.out}")
    return Exit.OK
