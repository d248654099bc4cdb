"""What the numbers say, in sentences: what was done, what came of it, and what it cannot show."""

from __future__ import annotations

from typing import Any

import numpy as np

from hardpairs.evaluating.compare import ALPHA, HEADLINE, Comparison, Difference
from hardpairs.evaluating.runs import DIRECTIONS, Method
from hardpairs.pages.charts import starting_runs
from hardpairs.pages.numbers import capitalised, count_text, enumerate_words, plural, value_text
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
"""Options that must agree before a page may say that continuations were given the same chance."""

_PHRASES = {"R@1": "R@1", "beats_hard_pairs": "“beats its hard pairs”"}
_NAMES = {
    f"{d}_{suffix}": f"{phrase} ({arrow})"
    for suffix, phrase in _PHRASES.items()
    for d, arrow in DIRECTIONS.items()
}


def what_was_done(comparison: Comparison, *, pairs: int | None, depth: int | None) -> list[str]:
    """Three sentences: the model to start from, the hard pairs, the methods and their exam. ``pairs``: usable training rows;
    ``depth``: how many hard pairs of each were kept; both ``None`` when unknown."""
    methods = comparison.methods
    record = methods[0].first.record
    return [
        _start_sentence(methods, pairs),
        *([_mining_sentence(depth, bool(starting_runs(methods)))] if depth else []),
        f"{_training_sentence(methods)} had to find the right caption for {count_text(record['images'])} held-out pictures, "
        f"and the right picture for {plural(record['texts'], 'caption')}.",
    ]


def _start_sentence(methods: tuple[Method, ...], pairs: int | None) -> str:
    data = f"{count_text(pairs)} image-text pairs" if pairs else "image-text pairs"
    starts = starting_runs(methods)
    if not starts:
        model = methods[0].first.record.get("model") or "CLIP"
        return f"{plural(len(methods), 'model')} ({model}) were trained on {data} or taken as published."
    params = starts[0].params
    origin = (
        f"continued from {params['pretrained']}"
        if params.get("pretrained")
        else "trained from scratch"
    )
    return f"A CLIP model ({params.get('model')}) was {origin} on {data}."


def _mining_sentence(depth: int, own: bool) -> str:
    whose = "Its own embeddings" if own else "A frozen model's embeddings"
    return f"{whose} then named, for each pair, up to {count_text(depth)} other pairs that are hardest to tell from it: its hard pairs."


def _training_sentence(methods: tuple[Method, ...]) -> str:
    starts = starting_runs(methods)
    rest = [method for method in methods if method.first.params and method.first not in starts]
    if len(rest) < 2 or not starts:
        return "Every model"
    params = rest[0].first.params
    same = all(
        method.first.params.get(name) == params.get(name) for method in rest for name in SAME_IN_ALL
    )
    if not same:
        return f"{capitalised(_together(rest))} started from it, with settings that differ (below); then every model"
    size = count_text(global_batch(params))
    length = (
        plural(params["max_steps"], "step")
        if params.get("max_steps")
        else plural(params["epochs"], "epoch")
    )
    return f"From there, {_together(rest)} each got the same {length} of {size} pairs at the same learning rate; then every model"


def _together(methods: list[Method]) -> str:
    return enumerate_words([method.label for method in methods])


def verdicts(comparison: Comparison) -> list[tuple[str, str]]:
    """(kind, sentence) for each method but the base and the reference, the hero first; kind as in ``Difference.verdict``, or ``mixed``."""
    hero = comparison.hero
    others = [
        m
        for m in comparison.methods
        if m.name in comparison.differences and m is not hero and m.name != "base"
    ]
    return [_verdict(comparison, method) for method in ([hero] if hero else []) + others]


def _verdict(comparison: Comparison, method: Method) -> tuple[str, str]:
    found = {key: d for key, d in comparison.differences[method.name].items() if key in HEADLINE}
    better, worse, unclear = (
        [key for key, d in found.items() if d.verdict == kind]
        for kind in ("better", "worse", "unclear")
    )
    name, reference = (
        capitalised(method.label),
        comparison.reference.label if comparison.reference else "",
    )
    rest = (
        f" On {_list(unclear)} no difference can be shown." if unclear and (better or worse) else ""
    )
    if better and worse:
        return (
            "mixed",
            f"{name} compared with {reference}: better on {_list(better)}, but worse on {_list(worse)}.{rest}",
        )
    if better:
        return "better", f"{name} helped: better than {reference} on {_list(better)}.{rest}"
    if worse:
        return "worse", f"{name} did not help: worse than {reference} on {_list(worse)}.{rest}"
    return (
        "unclear",
        f"{name} did not help measurably: no difference to {reference} that these queries can show.",
    )


def _list(keys: list[str]) -> str:
    if set(keys) == set(HEADLINE):
        return "all four headline figures"
    return enumerate_words([_NAMES[key] for key in keys])


def warnings(comparison: Comparison) -> list[str]:
    """What a reader must know before believing the headline: models that ended below the one they started from."""
    below = []
    if "base" in comparison.values:
        start = _mean_recall(comparison, "base")
        below = [
            m
            for m in comparison.methods
            if m.name != "base" and _mean_recall(comparison, m.name) < start
        ]
    if not below:
        return []
    values = enumerate_words([value_text(_mean_recall(comparison, m.name), "share") for m in below])
    return [
        f"Continuing cost accuracy: {_together(below)} ended at {values} % R@1 (mean of both directions), below the base model's "
        f"{value_text(start, 'share')} %. A smaller loss is not a gain."
    ]


def _mean_recall(comparison: Comparison, name: str) -> float:
    return float(np.mean([comparison.values[name][f"{direction}_R@1"] for direction in DIRECTIONS]))


def small_print(comparison: Comparison, manifest: dict[str, Any]) -> list[str]:
    """What these numbers can and cannot show."""
    lines = []
    if comparison.hero is not None:
        lines = [_seeds_line(comparison), *_query_lines(comparison)]
    if manifest:
        lines.append(
            "The demonstration's pictures are photographs made by a program, of few kinds of things, and the model is small. The page "
            "shows the mechanism at work; how much a large model on web data gains is another question."
        )
    if comparison.methods[0].first.record.get("ties") == "expected":
        lines.append(
            "Ties count by their expectation in the metrics, but against the model in the tests and in the examples."
        )
    return lines


def _seeds_line(comparison: Comparison) -> str:
    hero, reference = comparison.hero, comparison.reference
    assert hero is not None and reference is not None
    recalls = [
        comparison.differences[hero.name].get(f"{direction}_R@1") for direction in DIRECTIONS
    ]
    by_seed = [difference.by_seed for difference in recalls if difference is not None]
    if not by_seed or len(by_seed[0]) < 2:
        return (
            "Each method was trained with one seed. The p-values and intervals say what other queries of this kind would give with "
            "these very models. They do not say what another training seed would give; more seeds would "
            "(scripts/quickstart.sh --seeds 3)."
        )
    wins = [sum(value > 0 for value in values) for values in by_seed]
    parts = [
        f"{won} of {len(by_seed[0])} ({arrow})"
        for won, arrow in zip(wins, DIRECTIONS.values(), strict=False)
    ]
    return (
        f"{plural(len(by_seed[0]), 'seed')} for each method. {capitalised(hero.label)} had the higher R@1 for {enumerate_words(parts)}. "
        "± is the standard deviation between seeds; the p-values are over queries, on each query's mean over seeds, and a few seeds "
        "bound the luck of training only roughly."
    )


def _query_lines(comparison: Comparison) -> list[str]:
    assert comparison.hero is not None
    tested = [
        d
        for differences in comparison.differences.values()
        for key, d in differences.items()
        if key in HEADLINE and d.p is not None
    ]
    found = [
        d
        for key, d in comparison.differences[comparison.hero.name].items()
        if key.endswith("_R@1") and d.low is not None
    ]
    if not tested or not found:
        return []
    return [
        f"With this many queries, differences in R@1 below about {_half_width(found):.1f} points cannot be told from chance.",
        f"A difference is called one when p < {str(ALPHA)[1:]} (paired permutation test over queries, two-sided) and no seed says otherwise. Of the "
        f"{len(tested)} tests behind this headline about {len(tested) * ALPHA:.1f} would come out so by chance alone. Queries count as "
        "independent, which several pictures of one thing are not quite.",
    ]


def _half_width(differences: list[Difference]) -> float:
    return max(
        50 * (d.high - d.low) for d in differences if d.low is not None and d.high is not None
    )
