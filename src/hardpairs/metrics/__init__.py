"""Metrics: pure functions of embeddings, ids and labels.

They tell how good a model is, and whether a difference is more than chance. A metric that a name
chooses (``--save-best``, ``hardpairs list metrics``) is a class in a file of this package with
``@register``; ``base.py`` has its base class and is where to start reading. ``METRICS`` finds them
all. ``retrieval.py`` ranks images and captions, ``gallery.py`` ranks a gallery by labels, and
``linkage.py`` builds the single-linkage tree of ``spanning.py``.
"""

from __future__ import annotations

from hardpairs.core.components import Registry, lazy_exports
from hardpairs.core.errors import usage

METRICS = Registry("metric", "hardpairs.metrics", "hardpairs.metrics")
"""The metrics by name: those of this package, then those of installed packages."""

_PUBLIC = {
    "Metric": "base",
    "MetricInputs": "base",
    "best_threshold": "linkage",
    "retrieval_metrics": "retrieval",
    "single_linkage": "linkage",
}
"""Public name: module that holds it."""

__all__ = ["METRICS", "all_values", "lower_is_better", *_PUBLIC]
__getattr__ = lazy_exports(__name__, _PUBLIC)


def all_values(*, needs_labels: bool | None = None) -> tuple[str, ...]:
    """Return the names of the numbers of all metrics, without importing them.

    Args:
        needs_labels: Those of metrics that need labels, or that need none. ``None``: of both.

    Raises:
        UserError: exit 2 when two metrics give one name to their numbers.
    """
    wanted = (True, False) if needs_labels is None else (needs_labels,)
    owners: dict[str, str] = {}
    names = []
    for metric, declaration in METRICS.items():
        for value in declaration.attributes["values"]:
            if owners.setdefault(value, metric) != metric:
                raise usage(
                    f"the metrics {owners[value]} and {metric} both have a number {value!r}",
                    where=declaration.module,
                    fix="rename one of the two",
                )
            if declaration.attributes.get("needs_labels", False) in wanted:
                names.append(value)
    return tuple(names)


def lower_is_better(value: str) -> bool:
    """Return whether a lower number is better, for the name of a number of some metric."""
    metrics = METRICS.values()
    return any(value in metric.attributes.get("lower_is_better", ()) for metric in metrics)
