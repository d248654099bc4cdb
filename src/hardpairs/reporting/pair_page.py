"""The page of ``tools.inspect_pairs``: a table's numbers, and anchors with their hard pairs, the suspicious ones first."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
from hardpairs.pages import numbers
from hardpairs.pages.charts import histogram
from hardpairs.pages.pictures import Album, Picture
from hardpairs.reporting.examples import draw

SUSPICIOUS = 24
LIKELY = 0.5
"""Likeness from which a pair is shown as suspicious."""
RANDOM = 12
PARTNERS = 5
"""Partners of an anchor that are drawn."""

SCRIPT = (Path(__file__).parent / "pairs.js").read_text(encoding="utf-8")
SCRIPT_HASH = "sha256-" + base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
"""The one script that the page's policy lets run."""


@dataclass(frozen=True)
class DrawnPair:
    """A hard pair of an anchor; ``score`` is empty where it is unknown, ``suspicious`` the reason to look at it."""

    picture: Picture
    place: int
    score: str
    suspicious: str


@dataclass(frozen=True)
class DrawnAnchor:
    picture: Picture
    partners: list[DrawnPair]


@dataclass(frozen=True)
class PairPage:
    """Everything the template reads."""

    title: str
    sentences: list[str]
    names: list[str]
    statistics: list[tuple[str, list[str]]]
    removed: list[tuple[str, list[str]]]
    overlaps: list[tuple[str, list[str]]]
    histogram: list[tuple[float, str]]
    suspicious: list[DrawnAnchor]
    random: list[DrawnAnchor]
    hub: Picture | None
    fingerprint: str
    command: str
    script: str = SCRIPT
    script_hash: str = SCRIPT_HASH


def make_page(
    tables: dict[str, HardPairTable], samples: Samples | None, *, command: str
) -> PairPage:
    """Numbers of all tables; pictures of the first, where there is data to take them from."""
    found = [statistics(table) for table in tables.values()]
    first = next(iter(tables.values()))
    suspicious: list[DrawnAnchor] = []
    random: list[DrawnAnchor] = []
    hub = None
    if samples is not None:
        album, suspected = Album(samples), suspicions(first, samples)
        suspicious = [
            _anchor(first, album, suspicion.row, suspicion)
            for suspicion in _distinct(first, samples, suspected)
        ]
        rows = np.flatnonzero(np.asarray(first.lengths) > 0)
        random = [_anchor(first, album, row, None) for row in draw(rows, samples.groups, RANDOM)]
        hub = album.picture(found[0].most_listed_row) if found[0].pairs else None
    return PairPage(
        title="Hard pairs" if len(tables) > 1 else f"Hard pairs: {next(iter(tables))}",
        sentences=sentences(found[0]),
        names=list(tables),
        statistics=statistics_lines(found),
        removed=removed_lines(list(tables.values())),
        overlaps=overlap_lines(tables),
        histogram=histogram(np.asarray(first.scores[:, 0])[np.asarray(first.lengths) > 0])
        if found[0].hardest
        else [],
        suspicious=suspicious,
        random=random,
        hub=hub,
        fingerprint=first.fingerprint or "",
        command=command,
    )


def _distinct(
    table: HardPairTable, samples: Samples, suspected: list[Suspicion]
) -> list[Suspicion]:
    """The first ones, each pair of groups once: i's suspicious partner j often has i as its own."""
    seen: set[frozenset[int]] = set()
    chosen = []
    for suspicion in suspected:
        pair = frozenset(
            (
                samples.group(suspicion.row),
                samples.group(int(table.indices[suspicion.row, suspicion.place])),
            )
        )
        if pair not in seen and len(chosen) < SUSPICIOUS and suspicion.likeness >= LIKELY:
            chosen.append(suspicion)
        seen.add(pair)
    return chosen


def _anchor(
    table: HardPairTable, album: Album, row: int, suspicion: Suspicion | None
) -> DrawnAnchor:
    length, known = int(table.lengths[row]), table.has_scores
    places = list(range(min(length, PARTNERS)))
    if suspicion is not None and suspicion.place not in places:
        places[-1] = suspicion.place
    partners = [
        DrawnPair(
            album.picture(int(table.indices[row, place])),
            place + 1,
            numbers.value_text(float(table.scores[row, place]), "score") if known else "",
            suspicion.reason if suspicion is not None and place == suspicion.place else "",
        )
        for place in places
    ]
    return DrawnAnchor(album.picture(row), partners)


def sentences(found: Statistics) -> list[str]:
    """What one should know of the first table."""
    lines = [
        f"{numbers.count_text(found.rows * (1 - found.empty))} of {numbers.count_text(found.rows)} rows have hard pairs, "
        f"{found.pairs / max(found.rows * (1 - found.empty), 1):.1f} each on average."
    ]
    if found.hardest:
        middle, high = (
            numbers.value_text(found.hardest[QUANTILES.index(q)], "score") for q in (0.5, 0.95)
        )
        lines.append(f"Half of the hardest scores are above {middle}, one in twenty above {high}.")
    lines.append(
        f"The most popular row is in {numbers.plural(found.most_listed, 'list')}; {numbers.value_text(found.never_listed, 'share')} % "
        "of the rows are in none."
    )
    return lines


def statistics_lines(found: list[Statistics]) -> list[tuple[str, list[str]]]:
    """Lines of (what, value for each table)."""

    def share(value: float) -> str:
        return f"{numbers.value_text(value, 'share')} %"

    lines = [
        ("rows", [numbers.count_text(s.rows) for s in found]),
        ("rows with an empty list", [share(s.empty) for s in found]),
        ("pairs per row", [f"{s.pairs / max(s.rows, 1):.1f}" for s in found]),
        (
            "lists that the most popular row is in",
            [numbers.count_text(s.most_listed) for s in found],
        ),
        ("rows in no list", [share(s.never_listed) for s in found]),
        ("places that the most listed 1 % of the rows take", [share(s.hub_share) for s in found]),
    ]
    for name, which in (("hardest score of a row", "hardest"), ("score of a pair", "all")):
        for i, q in enumerate(QUANTILES):
            values = [getattr(s, which) for s in found]
            label = "highest" if q == 1 else f"{100 * q:.0f} % are below"
            lines.append(
                (
                    f"{name}: {label}",
                    [numbers.value_text(v[i], "score") if v else "unknown" for v in values],
                )
            )
    return lines


def removed_lines(tables: list[HardPairTable]) -> list[tuple[str, list[str]]]:
    """Lines of (filter, candidates that it removed in each table), with the sum that holds: candidates = kept + removed."""
    counts = [table.manifest.get("counts") for table in tables]
    if not any(counts):
        return []
    names = list(dict.fromkeys(name for count in counts if count for name in count["removed"]))
    lines = [
        (
            "candidates",
            [numbers.count_text(count["candidates"]) if count else "unknown" for count in counts],
        )
    ]
    for name in names:
        removed = [count["removed"].get(name, 0) if count else None for count in counts]
        if any(removed):
            lines.append(
                (
                    f"removed: {name.replace('_', ' ')}",
                    ["unknown" if n is None else numbers.count_text(n) for n in removed],
                )
            )
    return [
        *lines,
        ("kept", [numbers.count_text(count["kept"]) if count else "unknown" for count in counts]),
    ]


def overlap_lines(tables: dict[str, HardPairTable]) -> list[tuple[str, list[str]]]:
    """Lines of (table, share of its pairs that each other table lists, too)."""
    if len(tables) < 2:
        return []
    return [
        (
            name,
            [
                "" if other == name else f"{numbers.value_text(overlap(ours, theirs), 'share')} %"
                for other, theirs in tables.items()
            ],
        )
        for name, ours in tables.items()
    ]


def terminal_text(page: PairPage) -> str:
    """The page's numbers as plain text."""
    lines = [page.title, *page.sentences]
    for lines_of in (page.statistics, page.removed, page.overlaps):
        if lines_of:
            width = max(len(name) for name, _ in lines_of) + 2
            columns = [
                max(len(page.names[i]), *(len(values[i]) for _, values in lines_of)) + 3
                for i in range(len(page.names))
            ]
            lines += [
                "",
                " " * width + "".join(f"{name:>{columns[i]}}" for i, name in enumerate(page.names)),
            ]
            lines += [
                f"{name:{width}}"
                + "".join(f"{value:>{columns[i]}}" for i, value in enumerate(values))
                for name, values in lines_of
            ]
    return "\n".join(lines)
