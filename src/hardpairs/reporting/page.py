"""Make the report of finished runs: results, curves, examples, hard pairs, and their origin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hardpairs.core.errors import Exit, UserError
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.samples import Samples
from hardpairs.evaluating.methods import ALPHA, HEADLINE, METRICS, Comparison
from hardpairs.evaluating.runs import DIRECTIONS, Method, Run, direction_of, open_evaluated
from hardpairs.pages.album import Album
from hardpairs.pages.charts import Chart
from hardpairs.pages.template import render_template
from hardpairs.reporting import wording
from hardpairs.reporting.examples import Kind, example_queries
from hardpairs.reporting.intervals import Intervals, intervals
from hardpairs.reporting.provenance import (
    Download,
    Step,
    demo_manifest,
    download,
    image_licenses,
    settings,
)
from hardpairs.reporting.run_charts import report_charts
from hardpairs.reporting.summary import versions
from hardpairs.reporting.training_pairs import TrainingPairs, open_training, training_pairs

Result = TypeVar("Result")


@dataclass(frozen=True)
class ReportPage:
    """Everything that the template reads. Empty parts are left out of the page.

    Attributes:
        left_out: Parts that could not be made, with the reason.
    """

    title: str
    comparison: Comparison
    sentences: list[str]
    verdicts: list[tuple[str, str]]
    warnings: list[str]
    small_print: list[str]
    intervals: Intervals | None
    charts: list[Chart]
    examples: dict[str, list[Kind]]
    training_pairs: TrainingPairs | None
    downloads: list[Download]
    steps: Sequence[Step]
    settings: tuple[list[Method], list[tuple[str, list[str]]]]
    versions: dict[str, str]
    fingerprints: list[tuple[str, str]]
    licenses: list[str]
    left_out: list[str]


def make_page(
    comparison: Comparison, *, title: str | None = None, steps: Sequence[Step] = ()
) -> ReportPage:
    """Return the report of finished runs.

    Images are found through the paths in the runs' own files. What is not there any more is left
    out, and the page says so.

    Args:
        comparison: The methods.
        title: The page's title; by default it follows from the content.
        steps: Steps of the work that led to the report.

    Raises:
        UserError: Exit 4 for data that has changed since.
    """
    left_out: list[str] = []

    def attempt(part: str, make: Callable[[], Result]) -> Result | None:
        try:
            return make()
        except UserError as error:
            if error.code not in (Exit.USAGE, Exit.BAD_INPUT):
                raise
            left_out.append(f"{part} ({error.what}: {error.where})")
            return None

    methods = comparison.methods
    first, trained = methods[0].first, trained_run(methods)
    evaluated = attempt("example queries", lambda: open_evaluated(first))
    training = table = pairs = None
    if trained is not None:
        training, table = attempt("hard pairs and batches", lambda: open_training(trained)) or (
            None,
            None,
        )
        if training is not None and table is not None:
            pairs = training_pairs(trained, training, table)
    sources = (trained.params["train_data"] if trained else None, first.record.get("data"))
    data = [str(source) for source in sources if source]
    manifest = demo_manifest(*data)
    default = "What hard pairs changed" if pairs and comparison.hero else "Retrieval results"
    return ReportPage(
        title=title or default,
        comparison=comparison,
        sentences=wording.what_was_done(
            comparison,
            pairs=len(training) - len(training.rejected) if training is not None else None,
            depth=table.indices.shape[1] if table is not None else None,
        ),
        verdicts=wording.verdicts(comparison),
        warnings=wording.warnings(comparison, seen=_seen(methods, trained, training)),
        small_print=wording.small_print(comparison, manifest),
        intervals=intervals(comparison),
        charts=report_charts(methods),
        examples=example_queries(comparison, Album(evaluated)) if evaluated is not None else {},
        training_pairs=pairs,
        downloads=_downloads(trained, training, first, evaluated),
        steps=steps,
        settings=settings(methods),
        versions=versions(),
        fingerprints=_fingerprints(methods, training, table),
        licenses=image_licenses(*data),
        left_out=left_out,
    )


def render(page: ReportPage) -> str:
    """Return the page as HTML that loads nothing."""
    return render_template(
        "report.html.j2",
        page=page,
        metrics=METRICS,
        directions=DIRECTIONS,
        direction_of=direction_of,
        headline=HEADLINE,
        alpha=ALPHA,
    )


def trained_run(methods: Sequence[Method]) -> Run | None:
    """Return the first run that was trained with hard pairs; without one, the first trained run."""
    trained = [run for method in methods for run in method.runs if run.params.get("train_data")]
    with_hard_pairs = [run for run in trained if run.params.get("hard_dict_dir")]
    return next(iter(with_hard_pairs + trained), None)


def _seen(methods: Sequence[Method], trained: Run | None, training: Samples | None) -> list[Method]:
    """Return the methods whose training data is that of the test, by path or by fingerprint."""

    def is_seen(run: Run) -> bool:
        source, record = run.params.get("train_data"), run.record
        if not source:
            return False
        if str(source) == record.get("data") and not record.get("split"):
            return True
        known = trained is not None and source == trained.params["train_data"]
        return (
            known
            and training is not None
            and training.fingerprint == record.get("dataset_fingerprint")
        )

    return [method for method in methods if any(map(is_seen, method.runs))]


def _downloads(
    trained: Run | None, training: Samples | None, first: Run, evaluated: Samples | None
) -> list[Download]:
    """Return what became of the training data and of the evaluation data."""
    downloads = []
    if trained is not None and training is not None:
        params = trained.params
        options = {"image_key": params["csv_img_key"], "separator": params["csv_separator"]}
        downloads.append(download(params["train_data"], training, **options))
    if evaluated is not None:
        source = str(first.record["data"])
        downloads.append(download(source, evaluated, image_key="filepath", separator=None))
    return [entry for entry in downloads if entry is not None]


def _fingerprints(
    methods: Sequence[Method], training: Samples | None, table: HardPairTable | None
) -> list[tuple[str, str]]:
    """Return the names and sha256 of data, table and weights."""
    prints = [("evaluation data", str(methods[0].first.record.get("dataset_fingerprint")))]
    if training is not None:
        prints.append(("training data", training.fingerprint))
    if table is not None:
        prints.append(("hard pair table", table.manifest["sha256"]))
    for method in methods:
        for run in method.runs:
            seed = f", seed {run.seed}" if len(method.runs) > 1 else ""
            weights = str(run.record.get("weights")).removeprefix("sha256:")
            prints.append((f"weights: {method.label}{seed}", weights))
    return prints
