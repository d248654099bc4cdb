"""Show hard pair tables: numbers, and images of the first, likely false negatives first."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.samples import Samples
from hardpairs.mining.pair_statistics import (
    QUANTILES,
    Statistics,
    Suspicion,
    overlap,
    statistics,
    suspicions,
)
from hardpairs.pages.album import Album, ShownImage
from hardpairs.pages.charts import histogram
from hardpairs.pages.numbers import count_text, plural, value_text
from hardpairs.pages.template import FOLDER, render_template
from hardpairs.reporting.examples import draw

SUSPICIOUS = 24
LIKELY = 0.5
"""Likeness from which a pair is shown as suspicious."""

RANDOM = 12
HARD_PAIRS = 5
"""Hard pairs of a target that are drawn."""

UNKNOWN = "unknown"

Line = tuple[str, list[str]]
"""A line of a table: its name, and the value of each hard pair table."""


@dataclass(frozen=True)
class DrawnPair:
    """A hard pair of a target.

    Attributes:
        image: The hard pair.
        rank: Its rank in the target's list, from 1.
        score: Its score as text; empty where it is unknown.
        suspicious: The reason to look at it; empty without one.
    """

    image: ShownImage
    rank: int
    score: str
    suspicious: str


@dataclass(frozen=True)
class DrawnTarget:
    """A row and some of its hard pairs."""

    image: ShownImage
    hard_pairs: list[DrawnPair]


@dataclass(frozen=True)
class PairPage:
    """Everything that the template reads; images only where there is a data set."""

    title: str
    sentences: list[str]
    names: list[str]
    statistics: list[Line]
    removed: list[Line]
    overlaps: list[Line]
    histogram: list[tuple[float, str]]
    suspicious: list[DrawnTarget]
    random: list[DrawnTarget]
    most_listed: ShownImage | None
    fingerprint: str
    command: str


def make_page(
    tables: Mapping[str, HardPairTable], samples: Samples | None, *, command: str
) -> PairPage:
    """Return the numbers of all tables, and images of the first.

    Args:
        tables: Tables by name.
        samples: The data set that the tables were mined on; without it there are no images.
        command: The command that makes the page, for its last line.
    """
    counted = [statistics(table) for table in tables.values()]
    name, first = next(iter(tables.items()))
    listed = np.asarray(first.lengths) > 0
    suspicious: list[DrawnTarget] = []
    random: list[DrawnTarget] = []
    most_listed = None
    if samples is not None:
        album = Album(samples)
        suspicious = [
            _draw_target(first, album, suspicion.row, suspicion)
            for suspicion in _distinct(first, samples, suspicions(first, samples))
        ]
        random = [
            _draw_target(first, album, row)
            for row in draw(np.flatnonzero(listed), samples.groups, RANDOM)
        ]
        most_listed = album.image(counted[0].most_listed_row) if counted[0].pairs else None
    return PairPage(
        title="Hard pairs" if len(tables) > 1 else f"Hard pairs: {name}",
        sentences=sentences(counted[0]),
        names=list(tables),
        statistics=statistics_lines(counted),
        removed=removed_lines(list(tables.values())),
        overlaps=overlap_lines(tables),
        histogram=histogram(np.asarray(first.scores[:, 0])[listed]) if counted[0].hardest else [],
        suspicious=suspicious,
        random=random,
        most_listed=most_listed,
        fingerprint=first.fingerprint or "",
        command=command,
    )


def render(page: PairPage) -> str:
    """Return the page as HTML that loads nothing and runs our script alone."""
    script = (FOLDER / "pairs.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return render_template(
        "pairs.html.j2", page=page, script=Markup(script), script_hash=f"sha256-{digest}"
    )


def _distinct(
    table: HardPairTable, samples: Samples, suspected: Iterable[Suspicion]
) -> list[Suspicion]:
    """Return the first suspicions, each pair of groups once.

    The suspicious hard pair of a row often has that row as its own.
    """
    seen: set[frozenset[int]] = set()
    chosen: list[Suspicion] = []
    for suspicion in suspected:
        other = int(table.indices[suspicion.row, suspicion.rank])
        groups = frozenset((samples.group(suspicion.row), samples.group(other)))
        if groups not in seen and len(chosen) < SUSPICIOUS and suspicion.likeness >= LIKELY:
            chosen.append(suspicion)
        seen.add(groups)
    return chosen


def _draw_target(
    table: HardPairTable, album: Album, row: int, suspicion: Suspicion | None = None
) -> DrawnTarget:
    """Draw a row with its first hard pairs and the suspicious one."""
    positions = list(range(min(int(table.lengths[row]), HARD_PAIRS)))
    suspicious = suspicion.rank if suspicion is not None else None
    if suspicious is not None and suspicious not in positions:
        positions[-1] = suspicious
    return DrawnTarget(
        album.image(row),
        [
            DrawnPair(
                album.image(int(table.indices[row, position])),
                position + 1,
                value_text(float(table.scores[row, position]), "score") if table.has_scores else "",
                suspicion.reason if suspicion is not None and position == suspicious else "",
            )
            for position in positions
        ],
    )


def sentences(counted: Statistics) -> list[str]:
    """Return what one should know of a table."""
    rows = counted.rows * (1 - counted.empty)
    lines = [
        f"{count_text(rows)} of {count_text(counted.rows)} rows have hard pairs, "
        f"{counted.pairs / max(rows, 1):.1f} each on average."
    ]
    if counted.hardest:
        middle, high = (
            value_text(counted.hardest[QUANTILES.index(quantile)], "score")
            for quantile in (0.5, 0.95)
        )
        lines.append(f"Half of the hardest scores are above {middle}, one in twenty above {high}.")
    lines.append(
        f"The most popular row is in {plural(counted.most_listed, 'list')}; "
        f"{value_text(counted.never_listed, 'share')} % of the rows are in none."
    )
    return lines


def statistics_lines(counted: Sequence[Statistics]) -> list[Line]:
    """Return the lines of the tables' statistics."""

    def share(value: float) -> str:
        return f"{value_text(value, 'share')} %"

    lines = [
        ("rows", [count_text(each.rows) for each in counted]),
        ("rows with an empty list", [share(each.empty) for each in counted]),
        ("pairs per row", [f"{each.pairs / max(each.rows, 1):.1f}" for each in counted]),
        (
            "lists that the most popular row is in",
            [count_text(each.most_listed) for each in counted],
        ),
        ("rows in no list", [share(each.never_listed) for each in counted]),
        (
            "share of all lists that the most listed 1 % of the rows take",
            [share(each.hub_share) for each in counted],
        ),
    ]
    for name, quantiles in (
        ("hardest score of a row", [each.hardest for each in counted]),
        ("score of a pair", [each.all for each in counted]),
    ):
        for number, quantile in enumerate(QUANTILES):
            label = "highest" if quantile == 1 else f"{100 * quantile:.0f} % are below"
            values = [value_text(each[number], "score") if each else UNKNOWN for each in quantiles]
            lines.append((f"{name}: {label}", values))
    return lines


def removed_lines(tables: Sequence[HardPairTable]) -> list[Line]:
    """Return the lines of how many candidates each filter removed: candidates = kept + removed."""
    counts = [table.manifest.get("counts") for table in tables]
    if not any(counts):
        return []

    def line(name: str, key: str) -> Line:
        return name, [count_text(count[key]) if count else UNKNOWN for count in counts]

    filters = dict.fromkeys(name for count in counts if count for name in count["removed"])
    lines = [line("candidates", "candidates")]
    for name in filters:
        removed = [count["removed"].get(name, 0) if count else None for count in counts]
        if any(removed):
            values = [UNKNOWN if number is None else count_text(number) for number in removed]
            lines.append((f"removed: {name.replace('_', ' ')}", values))
    return [*lines, line("kept", "kept")]


def overlap_lines(tables: Mapping[str, HardPairTable]) -> list[Line]:
    """Return the lines of each table's share of pairs that each other table lists, too."""
    if len(tables) < 2:
        return []
    return [
        (
            name,
            [
                "" if other is table else f"{value_text(overlap(table, other), 'share')} %"
                for other in tables.values()
            ],
        )
        for name, table in tables.items()
    ]


def terminal_text(page: PairPage) -> str:
    """Return the page's numbers as plain text."""
    text = [page.title, *page.sentences]
    for lines in filter(None, (page.statistics, page.removed, page.overlaps)):
        width = max(len(name) for name, _ in lines) + 2
        rows = [("", page.names), *lines]
        columns = [
            max(len(values[column]) for _, values in rows) + 3 for column in range(len(page.names))
        ]
        text.append("")
        for name, values in rows:
            cells = (f"{value:>{width}}" for value, width in zip(values, columns, strict=True))
            text.append(f"{name:{width}}" + "".join(cells))
    return "\n".join(text)
