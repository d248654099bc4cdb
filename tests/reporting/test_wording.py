"""Sentences of the report: they say what the numbers say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hardpairs.evaluating import runs
from hardpairs.evaluating.methods import HEADLINE, Comparison, Difference, compare
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

    def with_plain_below_base(self, four: list[Path], p: float) -> Comparison:
        """All of plain's R@1 two points below the base model's, by a test with this p."""
        comparison = compare(runs.read_methods(four))
        lower = {f"{direction}_R@1": 0.605 for direction in runs.DIRECTIONS}
        values = {**comparison.values, "base": lower, "plain": dict.fromkeys(lower, 0.585)}
        loss = Difference(-0.02, p, -0.06, 0.02, (-0.02,), 1)
        from_base = {"plain": dict.fromkeys(lower, loss)}
        return replace(comparison, values=values, from_base=from_base)

    def test_warns_of_a_loss_that_the_test_shows(self, four: list[Path]) -> None:
        comparison = self.with_plain_below_base(four, p=0.01)
        (warning,) = wording.warnings(comparison)
        assert "plain continuation has 58.5 % where the base model has 60.5 %" in warning
        assert "(image → text, p = .010)" in warning
        assert not any("ended at" in line for line in wording.small_print(comparison, {}))

    def test_a_loss_that_may_be_chance_is_no_warning(self, four: list[Path]) -> None:
        comparison = self.with_plain_below_base(four, p=0.68)
        assert wording.warnings(comparison) == []
        lines = wording.small_print(comparison, {})
        (line,) = (line for line in lines if "below the base model's 60.5 %" in line)
        assert line.startswith("Plain continuation ended at 58.5 % R@1") and "be chance" in line

    def test_a_loss_has_the_p_of_the_page(self, four: list[Path]) -> None:
        comparison = compare(runs.read_methods(four))
        assert set(comparison.from_base) == {"plain", "hard", "hard_sanw"}
        key = "image_to_text_R@1"
        loss, shown = comparison.from_base["plain"][key], comparison.differences["base"][key]
        assert (loss.value, loss.p) == (-shown.value, shown.p)

    def test_the_smallest_difference_follows_from_the_number_of_queries(
        self, four: list[Path]
    ) -> None:
        """Two equal models have an interval of no width; one query of 40 is 2.5 points."""
        comparison = compare(runs.read_methods(four))
        equal = Difference(0.0, 1.0, 0.0, 0.0, (0.0,), 1)
        for method in comparison.methods:
            for direction in runs.DIRECTIONS:
                name = f"{direction}_ranks"
                method.first.queries[name] = method.first.queries[name][:20].repeat(2)
        hard = dict.fromkeys(comparison.differences["hard"], equal)
        changed = replace(comparison, differences={**comparison.differences, "hard": hard})
        text = " ".join(wording.small_print(changed, {}))
        assert "at least 6 queries speak for the same method: 15.0 points with 40 queries" in text
        assert "0.0 points" not in text.replace("15.0", "")

    def test_the_seeds_line_names_what_would_show_more(self, four: list[Path]) -> None:
        comparison = compare(runs.read_methods(four))
        (line,) = (x for x in wording.small_print(comparison, {}) if "one seed" in x)
        assert line.endswith("train again with another --seed.") and "quickstart" not in line

    def test_seeds_are_counted_under_their_own_direction(self, four: list[Path]) -> None:
        comparison = compare(runs.read_methods(four))
        won = {"text_to_image_R@1": Difference(0.1, 0.01, 0.0, 0.2, (0.1, 0.2, -0.1), 1)}
        changed = replace(comparison, differences={**comparison.differences, "hard": won})
        assert "for 2 of 3 (text → image)." in wording.small_print(changed, {})[0]

    def test_calls_the_images_those_of_the_test(self, four: list[Path]) -> None:
        done = wording.what_was_done(compare(runs.read_methods(four)), pairs=ROWS, depth=6)
        assert "test images" in done[-1] and "held-out" not in done[-1]

    def test_names_the_methods_that_learned_the_test(self, four: list[Path]) -> None:
        comparison = self.with_plain_below_base(four, p=0.68)
        (warning,) = wording.warnings(comparison, seen=comparison.methods[:2])
        assert warning.startswith("Trained on the data of this test: base model and plain cont")

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
