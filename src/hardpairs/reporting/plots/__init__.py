"""Figures of a run as PNG files under MiniCLIP's names: one module per figure, of its name.

Each module returns a matplotlib figure in the style of ``hardpairs.pages.charts``;
``draw_figures`` writes those of one run. Start reading at ``training_curves``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hardpairs.data.samples import Samples
from hardpairs.evaluating.runs import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_figures(
    run: Run, samples: Samples, label: str, out: Path
) -> Iterator[tuple[str, Path | None, str]]:
    """Draw the figures of a run into a folder, one after the other.

    Args:
        run: The run.
        samples: What it was evaluated on.
        label: Its name in the figures and, made safe, in their files' names.
        out: The folder.

    Yields:
        (name of the figure, its file, ""); where there is nothing to draw, (name, ``None``, why).

    Raises:
        UserError: Exit 3 for a run without stored embeddings.
    """
    from hardpairs.evaluating.plot_embeddings import read_plot_embeddings
    from hardpairs.evaluating.results import file_label
    from hardpairs.pages.charts import save_png, styled
    from hardpairs.reporting.plots.embedding_space import FEWEST, embedding_space
    from hardpairs.reporting.plots.retrieval_results import retrieval_results
    from hardpairs.reporting.plots.similarity_heatmap import similarity_heatmap
    from hardpairs.reporting.plots.training_curves import training_curves

    stored = read_plot_embeddings(run.folder)
    figures: dict[str, tuple[Callable[[], Figure | None], str]] = {
        "training_curves": (
            lambda: training_curves(run.log, run.validation, label),
            "no step log and no validation results in the run's folder",
        ),
        "retrieval_results": (lambda: retrieval_results(samples, run.queries, label), ""),
        "similarity_heatmap": (lambda: similarity_heatmap(samples, stored, label), ""),
        "embedding_space": (
            lambda: embedding_space(samples, stored, label),
            f"fewer than {FEWEST} points, or all are equal",
        ),
    }
    for name, (draw, nothing) in figures.items():
        with styled():
            figure = draw()
            path = None
            if figure is not None:
                path = save_png(figure, out / f"{name}_{file_label(label)}.png")
        yield name, path, "" if path else nothing
