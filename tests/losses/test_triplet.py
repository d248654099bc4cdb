"""The triplet loss by hand."""

import math

import pytest
import torch

from tests.losses.helpers import library_loss


def test_triplet_loss_by_hand():
    """Four points of the circle at 0, 60, 90 and 180 degrees, classes a a b b: chords 2 sin(angle / 2)."""
    angles = torch.tensor([0.0, 60.0, 90.0, 180.0]).deg2rad()
    rows, labels = torch.stack((angles.cos(), angles.sin()), dim=1), torch.tensor([0, 0, 1, 1])
    chord = {degrees: 2 * math.sin(math.radians(degrees / 2)) for degrees in (30, 60, 90, 120, 180)}
    triplets = [
        *(
            (chord[60], chord[90]),
            (chord[60], chord[180]),
            (chord[60], chord[30]),
            (chord[60], chord[120]),
        ),  # anchors 0 and 60
        *(
            (chord[90], chord[90]),
            (chord[90], chord[30]),
            (chord[90], chord[180]),
            (chord[90], chord[120]),
        ),  # anchors 90 and 180
    ]
    each = [max(0.0, positive - negative + 0.2) for positive, negative in triplets]
    expected = sum(each) / sum(value > 0 for value in each)
    assert library_loss("triplet")(rows, labels).item() == pytest.approx(expected, abs=1e-5)
