"""Batches on their way through loader and encoders."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from hardpairs.data.images import decode
from hardpairs.data.opening import open_samples
from hardpairs.embedding import stream
from hardpairs.embedding.stream import Clock, Embedded, encode_batches
from tests.embedding.colors import simple_encoders
from tests.helpers import picture


def test_a_batch_keeps_its_rows_and_the_reasons_of_the_others(table, tmp_path):
    (tmp_path / "images/1.jpg").write_bytes(b"<html>")
    (tmp_path / "images/4.jpg").unlink()
    encoders = simple_encoders()
    batches = [[0, 1, 2], [4]]
    first, second = encode_batches(open_samples(table), encoders, batches, workers=0, device="cpu")
    assert first.rows.tolist() == [0, 2] and first.rejected == {1: "not_an_image"}
    assert second.rows.tolist() == [] and second.rejected == {4: "missing_file"}
    for position, row in enumerate(first.rows):
        pixels = encoders.image.transform(decode(picture(row)))[None]
        expected = encoders.image.encode(pixels)[0].numpy()
        expected = expected / np.linalg.norm(expected)
        np.testing.assert_allclose(first.image[position], expected, rtol=1e-5)
    joined = Embedded.joined([second, first, second])
    assert joined.rows.tolist() == [0, 2] and set(joined.rejected) == {1, 4}
    assert np.array_equal(joined.text, first.text)
    assert Embedded.joined([second]).image.shape == (0, 0)


@pytest.mark.parametrize("slow", ["transform", "encode"])
def test_the_clock_tells_who_waits(table, monkeypatch, slow):
    """Loading or encoding takes a second for each image, on a clock that nothing else moves."""
    now, encoders = [0.0], simple_encoders()
    monkeypatch.setattr(stream, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    function = getattr(encoders.image, slow)

    def slowly(*arguments):
        now[0] += 1
        return function(*arguments)

    encoders, clock = replace(encoders, image=replace(encoders.image, **{slow: slowly})), Clock()
    batches = [[row] for row in range(10)]
    samples = open_samples(table)
    done = encode_batches(samples, encoders, batches, workers=0, device="cpu", clock=clock)
    assert len(list(done)) == 10
    expected = (10, 0, 1) if slow == "transform" else (0, 10, 0)
    assert (clock.waiting, clock.encoding, clock.share_waiting) == expected
