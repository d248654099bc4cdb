"""Sentences of the report: they say what the numbers say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hardpairs.evaluating import runs
from hardpairs.evaluating.methods import HEADLINE, Difference, compare
from hardpairs.reporting import wording
from tests.reporting.runs import ROWS


class TestWording:
    def with_headline(self, four: list[Path], **values: tuple[float, float]) -> list[str]:
        """Verdicts when hard's four headline differences are (value, p)."""
        comparison = compare(runs.read_methods(four))
        made = [
            Difference(value, p, value - 0.01, value + 0.01, (value,), 1)
            for value, p in values.values()
        ]
        changed = {**comparison.differences, "hard": dict(zip(HEADLINE, made, strict=True))}
        return [
            sentence for _, sentence in wording.verdicts(replace(comparison, differences=changed))
        ]

    @pytest.mark.parametrize(
        ("differences", "words"),
        [
            (
                [(0.1, 0.01)] * 4,
                "Hard-pair batches helped: better than plain continuation on all four headline figures.",
            ),
            ([(0.1, 0.01)] * 2 + [(0.0, 0.9)] * 2, "no difference can be shown"),
            ([(-0.1, 0.01)] * 4, "Hard-pair batches did not help: worse than"),
            ([(0.1, 0.5)] * 4, "did not help measurably"),
            ([(0.1, 0.01), (-0.1, 0.01)] * 2, "but worse on"),
        ],
    )
    def test_says_it_as_it_is(
        self, four: list[Path], differences: list[tuple[float, float]], words: str
    ) -> None:
        assert words in self.with_headline(four, **dict(zip("abcd", differences, strict=True)))[0]

    def test_warns_of_models_below_their_start(self, four: list[Path]) -> None:
        comparison = compare(runs.read_methods(four))
        assert not any("hard-pair" in sentence for sentence in wording.warnings(comparison))
        best = {**comparison.values["base"], "image_to_text_R@1": 1.0, "text_to_image_R@1": 1.0}
        raised = replace(comparison, values={**comparison.values, "base": best})
        assert "below the base model's 100.0 %" in wording.warnings(raised)[0]

    def test_claims_equal_settings_only_when_they_are(self, four: list[Path]) -> None:
        (four[2] / "params.txt").write_text(
            (four[2] / "params.txt").read_text().replace("lr: 0.001", "lr: 0.002")
        )
        done = wording.what_was_done(compare(runs.read_methods(four)), pairs=ROWS, depth=6)
        assert len(done) == 3 and "settings that differ" in done[2]

    @pytest.mark.parametrize(
        ("model", "weights", "words"),
        [
            (
                "local-dir:/a/b/lite0",
                "/a/b/lite0/weights.bin",
                "(lite0) was continued from its own",
            ),
            ("local-dir:/a/b/lite0", "/runs/epoch_5.pt", "(lite0) was continued from epoch_5.pt"),
            ("ViT-B-32", "laion2b_s34b_b79k", "(ViT-B-32) was continued from laion2b_s34b_b79k"),
        ],
    )
    def test_names_the_start_without_the_folders_of_one_machine(
        self, four: list[Path], model: str, weights: str, words: str
    ) -> None:
        options = {"model": model, "pretrained": weights}
        text = "".join(f"{name}: {value}\n" for name, value in options.items())
        lines = (four[0] / "params.txt").read_text().splitlines(keepends=True)
        kept = [line for line in lines if line.partition(":")[0] not in options]
        (four[0] / "params.txt").write_text("".join(kept) + text)
        done = wording.what_was_done(compare(runs.read_methods(four)), pairs=ROWS, depth=None)
        assert words in done[0]
