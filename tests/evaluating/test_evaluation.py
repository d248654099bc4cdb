"""An evaluation, measured and written."""

from __future__ import annotations

import json
from pathlib import Path

from hardpairs.data.opening import open_samples
from hardpairs.evaluating.evaluation import evaluate_embeddings, write_evaluation
from hardpairs.evaluating.plot_embeddings import read_plot_embeddings
from tests.photos.runs import embedded, write_photos


def test_all_files_of_a_run_folder(tmp_path: Path) -> None:
    samples = open_samples(write_photos(tmp_path))
    evaluation = evaluate_embeddings(
        samples, embedded(samples, noise=1.0), with_baselines=True, with_miniclip=True
    )
    assert {"baselines", "ceiling", "miniclip"} <= evaluation.metrics.keys()
    assert not evaluation.compared_with_hard_pairs
    facts = {"method": "lstm", "ties": "pessimistic"}
    record = write_evaluation(tmp_path / "run", evaluation, facts, protocol="both")
    assert record == {**facts, **evaluation.metrics}
    assert json.loads((tmp_path / "run/evaluation.json").read_text()) == record
    assert "MiniCLIP's protocol" in (tmp_path / "run/evaluation.md").read_text()
    assert len(read_plot_embeddings(tmp_path / "run")["image"]) == 6
    assert (tmp_path / "run_registry.csv").read_text().splitlines()[1].startswith("lstm,")
