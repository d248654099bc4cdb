"""patches/0211: features that are not finite are no result."""

from __future__ import annotations

import pytest


def metrics(rows: int, bad: dict[str, list[int]], value: float = float("nan")) -> dict[str, float]:
    """OpenCLIP's metrics of one-hot pairs, some rows of which hold a number that is none."""
    import torch
    from open_clip_train.train import get_clip_metrics

    features = {name: torch.eye(rows) for name in ("image", "text")}
    for name, numbers in bad.items():
        features[name][numbers, 0] = value
    result = get_clip_metrics(features["image"], features["text"], torch.tensor(100.0))
    return {name: float(number) for name, number in result.items()}


def test_finite_features_are_measured(mended, plain):
    assert mended.call(metrics, 8, {}) == plain.call(metrics, 8, {})
    assert mended.call(metrics, 8, {})["image_to_text_R@1"] == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_features(mended, value):
    with pytest.raises(FloatingPointError, match="2 image and 1 text features of 8"):
        mended.call(metrics, 8, {"image": [1, 5], "text": [7]}, value)


def test_unmended(plain):
    assert plain.call(metrics, 8, {"image": [0, 1, 2, 3, 4, 5, 6, 7]})["image_to_text_R@1"] < 1
