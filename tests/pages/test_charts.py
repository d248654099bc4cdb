"""Charts of pages: their lines, ticks, colors, and that they load nothing."""

import re

import numpy as np
import pytest

from hardpairs.pages.charts import (
    CHART_HEIGHT,
    CHART_WIDTH,
    MAX_POINTS,
    histogram,
    line_chart,
    lines_of,
    tick_text,
    ticks,
)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-3.2, 7.9), (0, 2e-5), (17.3, 17.8), (0, 123456), (5, 5)]
)
def test_ticks(low, high):
    found = ticks(low, high)
    assert 1 <= len(found) <= 6 and all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)


def test_tick_labels_are_short():
    texts = [tick_text(value) for value in (1000, 0.5, -0.25, 2e-5, 0.1 + 0.2, 1e-17)]
    assert texts == ["1,000", ".5", "−.25", "2e-5", ".3", "0"]


def paths(svg):
    """The points of each line of a chart, by its color."""
    found = {}
    for path, color in re.findall(r'd="([^"]+)" style="[^"]*stroke: var\(--(\w+)\)', svg):
        points = np.array(re.findall(r"-?[\d.]+", path), float).reshape(-1, 2)
        found.setdefault(color, []).append(points)
    return found


def test_lines_stay_in_their_box():
    x = np.arange(1000.0)
    chart = line_chart(
        "loss", [(0, "a", x, np.sin(x)), (1, "b", x, np.where(x > 500, np.nan, 2.0))]
    )
    assert chart.legend == [(0, "a"), (1, "b")]
    lines = paths(chart.svg)
    for points in (lines["c0"][0], lines["c1"][0]):
        assert points.min() >= 0 and len(points) <= MAX_POINTS
        assert (points <= (CHART_WIDTH, CHART_HEIGHT)).all()
    assert lines["c1"][0][-1, 0] < 0.6 * CHART_WIDTH  # the second half is not known


def test_lines_are_where_their_values_are():
    x = np.array([0.0, 1.0, 2.0])
    (line,) = paths(line_chart("R@1", [(3, "a", x, np.array([0.0, 10.0, 5.0]))]).svg)["c3"]
    width, height = np.ptp(line, axis=0)
    assert (line[:, 0] - line[0, 0]) / width == pytest.approx([0, 0.5, 1], abs=0.01)
    assert (line[0, 1] - line[:, 1]) / height == pytest.approx([0, 1, 0.5], abs=0.01)


def test_a_color_is_thinner_the_second_time_and_a_point_is_a_dot():
    x = np.arange(3.0)
    svg = line_chart("loss", [(0, "a", x, x), (0, "a", x, 2 * x), (1, "b", x[:1], x[:1])]).svg
    assert re.findall(r"stroke-opacity: ([\d.]+)", svg) == ["0.5"]
    (dot,) = paths(svg)["c1"]
    assert len(dot) == 2 and (dot[0] == dot[1]).all() and "stroke-width: 9" in svg


def test_charts_follow_the_page_and_load_nothing():
    x = np.arange(3.0)
    svg = line_chart("<loss>", [(0, "<b>", x, x)], x_label="<x>").svg
    assert "#" not in svg and "id=" not in svg and "href" not in svg and "url(" not in svg
    assert "font-family" not in svg and "<b>" not in svg and svg.count("<text") > 3
    assert svg == line_chart("<loss>", [(0, "<b>", x, x)], x_label="<x>").svg


def test_labels_are_whole_and_coordinates_short():
    x = np.arange(3.0)
    svg = line_chart("learning rate", [(0, "a", x, x / 2000)]).svg
    assert {">.001<", ">5e-4<"} <= {*re.findall(r">[^<\n]+<", svg)}
    assert not re.search(r'[dxy]="[^"]*\.\d{3}', svg)


def test_nothing_to_draw():
    assert line_chart("loss", []) is None
    assert line_chart("loss", [(0, "a", np.arange(3.0), np.zeros(3))]) is None


def test_histogram_counts():
    assert histogram(np.array([0.1, 0.1, 0.9]), bins=2) == [
        (100, "0.00 to 0.50: 2"),
        (50, "0.50 to 1.00: 1"),
    ]


def test_long_strange_captions_stay_in_their_lines():
    assert lines_of("a \u202ecat\n" + "x" * 300, 10, 2).count("\n") == 1
    assert lines_of("", 10, 2) == "" and lines_of("short", 10, 2) == "short"
