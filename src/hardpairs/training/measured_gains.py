"""Measured gains of recipes over plain training; ``benchmarks.evidence.summarize`` writes it.

Heads over frozen features of small sets: points of R@1 on pairs that were not trained on, with the
95 % interval over splits, by recipe and data set.
"""

from __future__ import annotations

GAINS: dict[str, dict[str, tuple[float, float, float]]] = {
    "hard-pairs": {
        "openclipart": (-0.53, -1.08, 0.01),
        "tuxpaint": (0.35, -1.27, 1.97),
    },
    "hard-pairs-memory": {
        "openclipart": (-0.68, -1.66, 0.29),
        "tuxpaint": (0.6, -1.07, 2.27),
    },
    "neighborhood": {
        "openclipart": (-0.8, -1.79, 0.2),
        "tuxpaint": (0.15, -0.93, 1.23),
    },
    "memory": {
        "openclipart": (0.19, -0.71, 1.09),
        "tuxpaint": (0.42, -1.81, 2.65),
    },
    "global": {
        "openclipart": (-0.44, -1.36, 0.48),
        "tuxpaint": (0.15, -1.44, 1.74),
    },
    "sanw": {
        "openclipart": (-0.37, -1.18, 0.44),
        "tuxpaint": (0.0, 0.0, 0.0),
    },
    "hardness": {
        "openclipart": (-0.26, -1.03, 0.51),
        "tuxpaint": (-0.04, -0.99, 0.9),
    },
}
