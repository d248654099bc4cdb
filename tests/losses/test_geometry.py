"""The geometry loss against its formula."""

import pytest

from hardpairs.losses import GeometryLoss
from tests.losses.helpers import features


def test_geometry_is_its_formula():
    x, y = features()
    expected = (
        sum((float(x[i] @ x[j]) - float(y[i] @ y[j])) ** 2 for i in range(12) for j in range(12))
        / 144
    )
    assert GeometryLoss()(x, y).item() == pytest.approx(expected, rel=1e-12)
    assert GeometryLoss()(x, x).item() == 0
