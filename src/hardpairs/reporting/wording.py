"""Say in sentences what was done, what the numbers show, and what they cannot show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.evaluating.methods import ALPHA, HEADLINE, Comparison
from hardpairs.evaluating.runs import DIRECTIONS, Method, direction_of, starting_runs
from hardpairs.metrics.significance import fewest_for
from hardpairs.models.model_folder import model_folder
from hardpairs.pages.numbers import (
    capitalized,
    count_text,
    enumerate_words,
    p_phrase,
    plural,
    value_text,
)
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
        f"{count_text(record['images'])} test images, and the right image for "
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


def warnings(comparison: Comparison, *, seen: Sequence[Method] = ()) -> list[str]:
    """Name the models that lost accuracy, and those that were tested on what they had learned.

    Args:
        comparison: The methods.
        seen: Methods that were trained on the data that they are tested on.

    Returns:
        The sentences; a loss is claimed by the rule of ``Difference.verdict``, as a gain is.
    """
    lines = []
    if seen:
        lines.append(
            f"Trained on the data of this test: {_together(seen)}. Such numbers do not say how a "
            "model does on pairs that it has not seen."
        )
    losses = [
        f"{method.label} has {value_text(comparison.values[method.name][key], 'share')} % where "
        f"the base model has {value_text(comparison.values['base'][key], 'share')} % "
        f"({DIRECTIONS[direction_of(key)]}, {p_phrase(difference.p)})"
        for method in comparison.methods
        for key, difference in comparison.from_base.get(method.name, {}).items()
        if difference.verdict == "worse" and difference.p is not None
    ]
    if losses:
        lines.append(
            f"Continuing cost accuracy. In R@1, {enumerate_words(losses)}. A smaller loss is not a "
            "gain."
        )
    return lines


def _lower_line(comparison: Comparison) -> list[str]:
    """Name the models that ended below the base model by a difference that is not shown."""
    if "base" not in comparison.values:
        return []
    start = _mean_recall(comparison, "base")
    below = [
        method
        for method in comparison.methods
        if (differences := comparison.from_base.get(method.name))
        and all(difference.verdict != "worse" for difference in differences.values())
        and _mean_recall(comparison, method.name) < start
    ]
    if not below:
        return []
    recalls = [f"{_mean_recall(comparison, method.name)} %" for method in below]
    return [
        f"{capitalized(_together(below))} ended at {enumerate_words(recalls)} R@1 (mean of both "
        f"directions), below the base model's {start} %, which may be chance."
    ]


def _mean_recall(comparison: Comparison, name: str) -> float:
    """Return a method's R@1 in percent as a page shows it, the mean of both directions."""
    values = comparison.values[name]
    return float(value_text(float(np.mean([values[f"{d}_R@1"] for d in DIRECTIONS])), "share"))


def small_print(comparison: Comparison, manifest: Mapping[str, Any]) -> list[str]:
    """Say what these numbers can and cannot show.

    Args:
        comparison: The methods.
        manifest: Manifest of demonstration data; empty for other data.
    """
    lines = []
    if comparison.hero is not None:
        lines = [_seeds_line(comparison, comparison.hero), *_query_lines(comparison)]
    lines += _lower_line(comparison)
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
    """Say what the training seeds can show: nothing with one, else how often the hero won."""
    differences = comparison.differences[hero.name]
    by_seed = {
        arrow: difference.by_seed
        for direction, arrow in DIRECTIONS.items()
        if (difference := differences.get(f"{direction}_R@1")) is not None
    }
    seeds = max(map(len, by_seed.values()), default=0)
    if seeds < 2:
        return (
            "Each method was trained with one seed. The p-values and intervals say how the same "
            "trained models would compare on other queries of this kind. They do not say how "
            "models of another training seed would compare: for that, train again with another "
            "--seed."
        )
    wins = [
        f"{sum(value > 0 for value in values)} of {seeds} ({arrow})"
        for arrow, values in by_seed.items()
    ]
    return (
        f"{plural(seeds, 'seed')} for each method. {capitalized(hero.label)} had the higher R@1 "
        f"for {enumerate_words(wins)}. ± is the standard deviation between seeds; the p-values are "
        "over queries, on each query's mean over seeds, and a few seeds bound the luck of training "
        "only roughly."
    )


def _query_lines(comparison: Comparison) -> list[str]:
    """Say what the number of queries can show, and how many tests the headline rests on."""
    assert comparison.hero is not None and comparison.reference is not None
    compared = {comparison.reference.name: comparison.differences, "base": comparison.from_base}
    tests = {
        (frozenset((name, against)), key)
        for against, methods in compared.items()
        for name, differences in methods.items()
        for key, difference in differences.items()
        if key in HEADLINE and difference.p is not None
    }
    ours = comparison.differences[comparison.hero.name]
    tested = [d for d in DIRECTIONS if (r1 := ours.get(f"{d}_R@1")) and r1.p is not None]
    if not tested:
        return []
    return [
        _fewest_line(comparison, tested),
        f"A difference is called one when p < {str(ALPHA)[1:]} (paired permutation test over "
        f"queries, two-sided) and no seed says otherwise. Of the {len(tests)} tests behind this "
        f"headline about {len(tests) * ALPHA:.1f} would come out so by chance alone. Queries count "
        "as independent, which several images of one thing are not quite.",
    ]


def _fewest_line(comparison: Comparison, directions: Sequence[str]) -> str:
    """Say the smallest difference in R@1 that so many queries can show (``fewest_for``).

    Over several seeds a query counts by its mean, and the smallest difference in points is open.
    """
    fewest = fewest_for(ALPHA)
    points = []
    for direction in directions:
        count = len(comparison.methods[0].first.queries[f"{direction}_ranks"])
        least = f"{100 * fewest / count:.1f} points" if count >= fewest else "out of reach"
        queries = plural(count, "query", "queries")
        points.append(f"{least} with {queries} ({DIRECTIONS[direction]})")
    at_least = "" if comparison.several_seeds else f": {enumerate_words(points)}"
    return (
        f"A difference in R@1 shows only if at least {fewest} queries speak for the same method"
        f"{at_least}. Where other queries speak against it, more are needed."
    )
