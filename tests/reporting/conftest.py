"""Small run folders as fixtures."""

from functools import partial
from pathlib import Path

import pytest

from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.opening import open_samples
from hardpairs.data.samples import Samples
from hardpairs.metrics.significance import bootstrap_interval
from tests.reporting.runs import write_data, write_four, write_hard_pairs


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals take most of the time of a small page."""
    fewer = partial(bootstrap_interval, rounds=50)
    monkeypatch.setattr("hardpairs.evaluating.methods.bootstrap_interval", fewer)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A CSV of pairs."""
    return write_data(tmp_path)


@pytest.fixture
def samples(data: Path) -> Samples:
    """The pairs of the CSV."""
    return open_samples(data)


@pytest.fixture
def hard_pair_table(data: Path) -> HardPairTable:
    """Hard pairs of the CSV."""
    return write_hard_pairs(data)


@pytest.fixture
def four(data: Path) -> list[Path]:
    """Runs of four methods."""
    return write_four(data)
