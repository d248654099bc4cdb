"""Rates of the disk and between two processes."""

import pytest

from hardpairs.planning.measure_rates import clock_seconds, disk_rates, network_rate


def test_a_file_is_written_read_and_removed(tmp_path):
    read, write = disk_rates(tmp_path, 1 << 16)
    assert read > 0 and write > 0 and not list(tmp_path.iterdir())


def test_an_action_is_repeated():
    calls = []
    assert clock_seconds(lambda: calls.append(0), 2) >= 0
    assert len(calls) == 2


@pytest.mark.slow
def test_two_processes_exchange_data():
    assert network_rate(1 << 16) > 0
