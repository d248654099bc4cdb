"""Read the files of a training run: options, step log, validation results.

The last line of a log may be cut off; such a line does not count.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.core.parse import parse_json

WATCH = "watch_"
"""Begins the names of numbers of a watched data set (``hardpairs.training.watch``)."""
_NUMBER = re.compile(r"-?\d")
_WORDS = {"None": None, "True": True, "False": False}


def read_params(path: Path) -> dict[str, Any]:
    """Return the options in OpenCLIP's params.txt, which has ``name: value`` lines.

    Numbers, None, True and False become such values. Empty without a file.
    """
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {
        name: _value(text)
        for name, colon, text in (line.partition(": ") for line in lines)
        if colon
    }


def _value(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _NUMBER.match(text):
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
    return text


def read_log(path: Path) -> dict[str, np.ndarray]:
    """Return the columns of the step log, ordered by step.

    The later line of a repeated step counts. Columns without a number are left out.

    Returns:
        float64 arrays of one length, NaN for a gap; empty when the file is not a step log.
    """
    if not path.is_file():
        return {}
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        if not {"step", "loss"} <= set(reader.fieldnames or ()):
            return {}
        rows = {_float(row["step"]): row for row in reader}
    steps = sorted(step for step in rows if math.isfinite(step))
    columns = {
        name: np.array([_float(rows[step][name]) for step in steps])
        for name in reader.fieldnames or ()
    }
    return {name: values for name, values in columns.items() if np.isfinite(values).any()}


def read_weights(path: Path) -> dict[int, np.ndarray]:
    """Return the distribution of weights in weights.csv.

    Returns:
        By epoch the share of negatives in each bin of [0, 1], over the steps that were logged.
    """
    sums: dict[int, np.ndarray] = {}
    if path.is_file():
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            for row in csv.reader(file):
                counts = np.array([_float(text) for text in row])
                # The header's first column is a word, and a line that is cut off is short.
                if len(counts) == 22 and np.isfinite(counts).all():
                    sums[int(counts[0])] = sums.get(int(counts[0]), 0) + counts[2:]
    return {epoch: counts / max(counts.sum(), 1) for epoch, counts in sorted(sums.items())}


def _float(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def read_validation(path: Path) -> list[dict[str, float]]:
    """Return the entries of OpenCLIP's results.jsonl, their numbers by name.

    A line that a kill cut off is left out, and so is one without an epoch, which OpenCLIP writes
    where zero-shot classes alone were measured.
    """
    results = []
    for line in path.read_text("utf-8", errors="replace").splitlines() if path.is_file() else []:
        try:
            entry = parse_json(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "epoch" in entry:
            results.append(
                {
                    name: float(value)
                    for name, value in entry.items()
                    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**1023)
                }
            )
    return results


def mean_recall(numbers: Mapping[str, float], start: str = "", *, k: int = 1) -> float | None:
    """Return the mean R@k of both directions; ``None`` where it was not measured.

    Args:
        numbers: An entry of results.jsonl.
        start: What the names begin with.
        k: Answers that count.
    """
    both = [numbers.get(f"{start}{way}_R@{k}") for way in ("image_to_text", "text_to_image")]
    return None if None in both else sum(filter(None, both)) / 2


def watched(numbers: Mapping[str, float], start: str = "") -> float | None:
    """Return a watch's top-1 accuracy, or else its mean R@1; ``None`` where there is no watch.

    Args:
        numbers: An entry of results.jsonl.
        start: What the names begin with.
    """
    return numbers.get(f"{start}{WATCH}top-1", mean_recall(numbers, f"{start}{WATCH}"))
