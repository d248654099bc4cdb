"""Metrics: pure functions of embeddings, ids and labels.

They tell how good a model is, and whether a difference is more than chance. A metric that a name
chooses (``--save-best``, ``hardpairs list metrics``) is a class in a file of this package with
``@register``; ``base.py`` has its base class and is where to start reading. ``METRICS`` finds them
all. ``retrieval.py`` ranks images and captions, ``gallery.py`` ranks a gallery by labels, and
``linkage.py`` builds the single-linkage tree of ``spanning.py``.
"""

from __future__ import annotations

import importlib
from typing import Any

from hardpairs.core.components import Registry

METRICS = Registry("metric", "hardpairs.metrics", "hardpairs.metrics")
"""The metrics by name: those of this package, then those of installed packages."""

_MODULES = {
    "Metric": "base",
    "MetricInputs": "base",
    "all_values": "base",
    "best_threshold": "linkage",
    "retrieval_metrics": "retrieval",
    "single_linkage": "linkage",
}
__all__ = ["METRICS", *sorted(_MODULES)]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that a list of metrics needs no PyTorch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
