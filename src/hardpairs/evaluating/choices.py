"""Measure how a model chooses between captions or images, as SugarCrepe, Winoground and ARO ask."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from hardpairs.core.errors import bad_input
from hardpairs.data.choices import Choices
from hardpairs.embedding.distinct import encode_images, encode_texts
from hardpairs.evaluating.tables import markdown_table
from hardpairs.metrics.choices import chance, choice_scores, credit, macro_mean, means_by_group
from hardpairs.models.encoders.base import Encoders
from hardpairs.pages.numbers import count_text, value_text

SCORES = ("text", "image", "group")
TIES_TEXT = "equal scores count as the mean over their orders (half for a pair)"
ROWS = 24
"""Groups that a table has; the file has all."""


def evaluate_choices(
    choices: Choices,
    encoders: Encoders,
    *,
    batch_size: int = 256,
    workers: int = 2,
    device: str = "cpu",
) -> dict[str, Any]:
    """Measure a model on a benchmark of choices; each image and caption is encoded once.

    Args:
        choices: The benchmark.
        encoders: The model.
        batch_size: Images or captions per batch.
        workers: Processes that read images; 0 for this one.
        device: Device of the model.

    Returns:
        ``benchmark``, ``items``, the scores ``text``, ``image`` and ``group`` where they are
        defined, ``chance`` of each, ``tied`` (items that equal scores decided), ``images`` and
        ``captions`` that were encoded. With groups also ``by_group`` (score and items of each) and
        ``macro``, the mean over groups of at least ``macro_least`` items. ``unreadable`` counts
        the items that are left out by the reason, ``not_valid`` those that people did not confirm.

    Raises:
        UserError: Exit 3 when no item can be read, exit 6 for embeddings that are not finite.
    """
    images = encode_images(
        choices.images, encoders.image, batch_size=batch_size, workers=workers, device=device
    )
    texts = encode_texts(choices.captions, encoders.text, batch_size=batch_size)
    readable = np.ones(len(choices.images), bool)
    readable[list(images.unreadable)] = False
    keep = readable[choices.image_of].all(axis=1)
    if not keep.any():
        reasons = dict(Counter(images.unreadable.values()))
        raise bad_input("no item has images that can be read", why=f"unreadable: {reasons}")
    image_of, text_of = choices.image_of[keep], choices.text_of[keep]
    found = credit(choice_scores(images.vectors, texts, image_of, text_of))
    record: dict[str, Any] = {
        "benchmark": choices.name,
        "items": int(keep.sum()),
        **{name: float(values.mean()) for name, values in found.scores.items()},
        "chance": chance(image_of.shape[1], text_of.shape[1]),
        "ties": TIES_TEXT,
        "tied": int(found.tied.sum()),
        "images": len(choices.images) - len(images.unreadable),
        "captions": len(choices.captions),
    }
    if choices.groups:
        groups = [group for group, kept in zip(choices.groups, keep, strict=True) if kept]
        record |= _by_group(found.scores, groups, choices.least)
    left_out = [
        next(images.unreadable[i] for i in item if i in images.unreadable)
        for item in choices.image_of[~keep].tolist()
    ]
    if left_out:
        record["unreadable"] = dict(sorted(Counter(left_out).items()))
    if choices.not_valid:
        record["not_valid"] = choices.not_valid
    return record


def _by_group(scores: dict[str, np.ndarray], groups: list[str], least: int) -> dict[str, Any]:
    means = {name: means_by_group(values, groups) for name, values in scores.items()}
    first = next(iter(means.values()))
    by_group = {
        group: {**{name: means[name][group][0] for name in means}, "items": items}
        for group, (_, items) in first.items()
    }
    macro = {name: macro_mean(means[name], least) for name in means}
    return {
        "macro": {name: value for name, value in macro.items() if value is not None},
        "macro_least": least,
        "macro_groups": sum(items >= least for _, items in first.values()),
        "by_group": by_group,
    }


def choices_table(record: dict[str, Any]) -> str:
    """Return what was measured as a Markdown table, with a line on what counts how.

    Args:
        record: From ``evaluate_choices``.
    """
    names = [name for name in SCORES if name in record]
    rows = [["", *names, "items"], _row("all items", record, names, record["items"])]
    if record.get("macro"):
        label, count = "mean over groups", record["macro_groups"]
        if record["macro_least"] > 1:
            label += f" of {record['macro_least']} items or more"
        rows.append(_row(label, record["macro"], names, f"{count} groups"))
        if len(record["by_group"]) <= ROWS:
            rows += [_row(g, v, names, v["items"]) for g, v in record["by_group"].items()]
    rows.append(_row("chance", record["chance"], names, ""))
    notes = [f"{record['benchmark']}: equal scores decide {record['tied']} items; {TIES_TEXT}."]
    if record.get("unreadable"):
        reasons = ", ".join(f"{reason} {count}" for reason, count in record["unreadable"].items())
        notes.append(f"Left out, since an image cannot be read: {reasons}.")
    if record.get("not_valid"):
        notes.append(f"Left out, since people did not confirm them: {record['not_valid']}.")
    return "\n".join([*notes, "", *markdown_table(rows)])


def _row(label: str, values: dict[str, Any], names: list[str], items: object) -> list[str]:
    shown = count_text(items) if isinstance(items, int) else str(items)
    return [label, *(value_text(values[name], "share") for name in names), shown]
