"""Say in sentences what was done, what the numbers show, and what they cannot show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.evaluating.methods import ALPHA, HEADLINE, Comparison, Difference
from hardpairs.evaluating.runs import DIRECTIONS, Method, starting_runs
from hardpairs.models.model_folder import model_folder
from hardpairs.pages.numbers import capitalized, count_text, enumerate_words, plural, value_text
from hardpairs.reporting.provenance import global_batch

SAME_IN_ALL = (
    "max_steps",
    "epochs",
    "batch_size",
    "world_size",
    "accum_freq",
    "lr",
    "warmup",
    "wd",
    "pretrained",
    "train_data",
)
"""Options that must agree before a page may say that all continuations had the same chance."""

_PHRASES = {"R@1": "R@1", "beats_hard_pairs": "“beats its hard pairs”"}
_NAMES = {
    f"{direction}_{suffix}": f"{phrase} ({arrow})"
    for suffix, phrase in _PHRASES.items()
    for direction, arrow in DIRECTIONS.items()
}


def what_was_done(comparison: Comparison, *, pairs: int | None, depth: int | None) -> list[str]:
    """Describe the model to start from, the hard pairs, and the methods with their test.

    Args:
        comparison: The methods.
        pairs: Usable training rows; ``None`` when unknown.
        depth: Hard pairs of each row that were kept; ``None`` when unknown.

    Returns:
        Two or three sentences.
    """
    methods = comparison.methods
    record = methods[0].first.record
    return [
        _start_sentence(methods, pairs),
        *([_mining_sentence(depth, bool(starting_runs(methods)))] if depth else []),
        f"{_training_sentence(methods)} had to find the right caption for "
        f"{count_text(record['images'])} held-out images, and the right image for "
        f"{plural(record['texts'], 'caption')}.",
    ]


def _start_sentence(methods: Sequence[Method], pairs: int | None) -> str:
    data = f"{count_text(pairs)} image-text pairs" if pairs else "image-text pairs"
    starts = starting_runs(methods)
    if not starts:
        model = _model_text(methods[0].first.record.get("model") or "CLIP")
        models = plural(len(methods), "model")
        return f"{models} ({model}) were trained on {data} or taken as published."
    params = starts[0].params
    model, origin = str(params.get("model")), params.get("pretrained")
    how = f"continued from {_weights_text(model, origin)}" if origin else "trained from scratch"
    return f"A CLIP model ({_model_text(model)}) was {how} on {data}."


def _model_text(model: str) -> str:
    """Return a model's name; of a model in a folder the folder's, without the path to it."""
    folder = model_folder(model)
    return model if folder is None else folder.name


def _weights_text(model: str, weights: str) -> str:
    """Return what weights are called: the model's own, a file's name or a tag."""
    return "its own weights" if Path(weights).parent == model_folder(model) else Path(weights).name


def _mining_sentence(depth: int, own: bool) -> str:
    whose = "Its own embeddings" if own else "A frozen model's embeddings"
    return (
        f"{whose} then named, for each pair, up to {count_text(depth)} other pairs that are "
        "hardest to tell from it: its hard pairs."
    )


def _training_sentence(methods: Sequence[Method]) -> str:
    starts = starting_runs(methods)
    rest = [method for method in methods if method.first.params and method.first not in starts]
    if len(rest) < 2 or not starts:
        return "Every model"
    params = rest[0].first.params
    if any(
        method.first.params.get(name) != params.get(name) for method in rest for name in SAME_IN_ALL
    ):
        return (
            f"{capitalized(_together(rest))} started from it, with settings that differ (below); "
            "then every model"
        )
    unit = "step" if params.get("max_steps") else "epoch"
    length = plural(params.get("max_steps") or params["epochs"], unit)
    size = count_text(global_batch(params))
    return (
        f"From there, {_together(rest)} each got the same {length} of {size} pairs at the same "
        "learning rate; then every model"
    )


def _together(methods: Sequence[Method]) -> str:
    return enumerate_words([method.label for method in methods])


def verdicts(comparison: Comparison) -> list[tuple[str, str]]:
    """Judge each method but the base and the reference, the hero first.

    Returns:
        (kind, sentence) for each; the kind as in ``Difference.verdict``, or ``mixed``.
    """
    judged = [
        method
        for method in comparison.methods
        if method is comparison.hero
        or (method.name in comparison.differences and method.name != "base")
    ]
    judged.sort(key=lambda method: method is not comparison.hero)
    return [_verdict(comparison, method) for method in judged]


def _verdict(comparison: Comparison, method: Method) -> tuple[str, str]:
    assert comparison.reference is not None
    differences = comparison.differences[method.name]
    better, worse, unclear = (
        [key for key, d in differences.items() if key in HEADLINE and d.verdict == kind]
        for kind in ("better", "worse", "unclear")
    )
    name, reference = capitalized(method.label), comparison.reference.label
    rest = f" On {_list(unclear)} no difference can be shown." if unclear else ""
    if better and worse:
        return "mixed", (
            f"{name} compared with {reference}: better on {_list(better)}, but worse on "
            f"{_list(worse)}.{rest}"
        )
    if better:
        return "better", f"{name} helped: better than {reference} on {_list(better)}.{rest}"
    if worse:
        return "worse", f"{name} did not help: worse than {reference} on {_list(worse)}.{rest}"
    return "unclear", (
        f"{name} did not help measurably: no difference to {reference} that these queries can show."
    )


def _list(keys: list[str]) -> str:
    if set(keys) == set(HEADLINE):
        return "all four headline figures"
    return enumerate_words([_NAMES[key] for key in keys])


def warnings(comparison: Comparison) -> list[str]:
    """Name the models that ended below the one they started from."""
    if "base" not in comparison.values:
        return []
    start = _mean_recall(comparison, "base")
    below = [
        method
        for method in comparison.methods
        if method.name != "base" and _mean_recall(comparison, method.name) < start
    ]
    if not below:
        return []
    recalls = [value_text(_mean_recall(comparison, method.name), "share") for method in below]
    return [
        f"Continuing cost accuracy: {_together(below)} ended at {enumerate_words(recalls)} % R@1 "
        f"(mean of both directions), below the base model's {value_text(start, 'share')} %. A "
        "smaller loss is not a gain."
    ]


def _mean_recall(comparison: Comparison, name: str) -> float:
    return float(np.mean([comparison.values[name][f"{direction}_R@1"] for direction in DIRECTIONS]))


def small_print(comparison: Comparison, manifest: Mapping[str, Any]) -> list[str]:
    """Say what these numbers can and cannot show.

    Args:
        comparison: The methods.
        manifest: Manifest of demonstration data; empty for other data.
    """
    lines = []
    if comparison.hero is not None:
        lines = [_seeds_line(comparison, comparison.hero), *_query_lines(comparison)]
    if manifest:
        lines.append(
            "The demonstration's images are photographs made by a program, of few kinds of things, "
            "and the model is small. The page shows the mechanism at work; how much a large model "
            "on web data gains is another question."
        )
    if comparison.methods[0].first.record.get("ties") == "expected":
        lines.append(
            "Ties count by their expectation in the metrics, but against the model in the tests "
            "and in the examples."
        )
    return lines


def _seeds_line(comparison: Comparison, hero: Method) -> str:
    differences = comparison.differences[hero.name]
    by_seed = [
        difference.by_seed
        for direction in DIRECTIONS
        if (difference := differences.get(f"{direction}_R@1")) is not None
    ]
    if not by_seed or len(by_seed[0]) < 2:
        return (
            "Each method was trained with one seed. The p-values and intervals say what other "
            "queries of this kind would give with these very models. They do not say what another "
            "training seed would give; more seeds would (scripts/quickstart.sh --seeds 3)."
        )
    seeds = len(by_seed[0])
    wins = [
        f"{sum(value > 0 for value in values)} of {seeds} ({arrow})"
        for values, arrow in zip(by_seed, DIRECTIONS.values(), strict=False)
    ]
    return (
        f"{plural(seeds, 'seed')} for each method. {capitalized(hero.label)} had the higher R@1 "
        f"for {enumerate_words(wins)}. ± is the standard deviation between seeds; the p-values are "
        "over queries, on each query's mean over seeds, and a few seeds bound the luck of training "
        "only roughly."
    )


def _query_lines(comparison: Comparison) -> list[str]:
    assert comparison.hero is not None
    tests = sum(
        key in HEADLINE and difference.p is not None
        for differences in comparison.differences.values()
        for key, difference in differences.items()
    )
    recalls = [
        difference
        for key, difference in comparison.differences[comparison.hero.name].items()
        if key.endswith("_R@1") and difference.low is not None
    ]
    if not tests or not recalls:
        return []
    return [
        "With this many queries, differences in R@1 below about "
        f"{max(map(_half_width, recalls)):.1f} points cannot be told from chance.",
        f"A difference is called one when p < {str(ALPHA)[1:]} (paired permutation test over "
        f"queries, two-sided) and no seed says otherwise. Of the {tests} tests behind this "
        f"headline about {tests * ALPHA:.1f} would come out so by chance alone. Queries count as "
        "independent, which several images of one thing are not quite.",
    ]


def _half_width(difference: Difference) -> float:
    """Return half the width of the interval, in points."""
    assert difference.low is not None and difference.high is not None
    return 50 * (difference.high - difference.low)
