"""Measured gains of recipes over plain training; ``benchmarks.evidence.summarize`` writes it.

Heads over frozen features of small sets: points of R@1 on pairs that were not trained on, with the
95 % interval over splits, by recipe and data set.
"""

from __future__ import annotations

GAINS: dict[str, dict[str, tuple[float, float, float]]] = {
    "hard-pairs": {
        "emoji": (0.45, -5.5, 6.4),
        "icons": (0.0, -0.87, 0.87),
        "openclipart": (-0.2, -0.78, 0.37),
        "tuxpaint": (-1.23, -2.86, 0.41),
    },
    "hard-pairs-memory": {
        "emoji": (1.66, -5.14, 8.47),
        "icons": (-0.13, -2.19, 1.93),
        "openclipart": (-0.18, -0.63, 0.27),
        "tuxpaint": (0.36, -3.83, 4.56),
    },
    "neighborhood": {
        "emoji": (0.33, -2.12, 2.78),
        "icons": (-0.03, -1.01, 0.95),
        "openclipart": (0.36, -0.88, 1.61),
        "tuxpaint": (-1.07, -3.21, 1.06),
    },
    "memory": {
        "emoji": (1.47, -2.67, 5.61),
        "icons": (0.07, -3.55, 3.68),
        "openclipart": (0.76, -0.33, 1.86),
        "tuxpaint": (0.96, -2.8, 4.72),
    },
    "memory-matched": {
        "emoji": (2.07, -1.26, 5.39),
        "icons": (-0.04, -3.5, 3.42),
        "openclipart": (0.63, -0.51, 1.77),
        "tuxpaint": (2.33, -0.16, 4.81),
    },
    "global": {
        "emoji": (1.43, -2.05, 4.92),
        "icons": (0.65, -1.22, 2.51),
        "openclipart": (0.03, -0.77, 0.83),
        "tuxpaint": (-0.06, -2.17, 2.06),
    },
    "sanw": {
        "emoji": (-0.03, -0.18, 0.13),
        "icons": (-0.06, -0.34, 0.22),
        "openclipart": (-0.05, -0.77, 0.66),
        "tuxpaint": (-0.68, -2.56, 1.19),
    },
    "hardness": {
        "emoji": (0.27, -3.21, 3.75),
        "icons": (-0.19, -0.44, 0.06),
        "openclipart": (-0.18, -0.89, 0.53),
        "tuxpaint": (-0.8, -2.68, 1.07),
    },
}
