"""A survey as text and as a page."""

from __future__ import annotations

from dataclasses import dataclass

from hardpairs.checking.survey import Finding, Survey
from hardpairs.pages.album import shown_text
from hardpairs.pages.numbers import count_text, plural

NO_OVERLAP = Finding("nothing in common", 0, [])


@dataclass(frozen=True)
class CheckPage:
    """Everything that the template reads.

    Attributes:
        title: The heading.
        sentences: What is most important.
        facts: Names and values.
        tables: Title, note and findings of each table.
        command: The command that made the page.
    """

    title: str
    sentences: list[str]
    facts: list[tuple[str, str]]
    tables: list[tuple[str, str, list[Finding]]]
    command: str


def check_page(found: Survey, against: str | None, shared: list[Finding]) -> CheckPage:
    """Build the page of a survey.

    Args:
        found: The survey.
        against: The other data set, if there is one.
        shared: What both have in common.
    """
    return CheckPage(
        title="Data checked",
        sentences=sentences(found, against, shared),
        facts=facts(found),
        tables=[
            (title, note, list(map(_shown, rows)))
            for title, note, rows in tables(found, against, shared)
        ],
        command=f"hardpairs check {shown_text(found.source)}",
    )


def check_text(found: Survey, against: str | None, shared: list[Finding]) -> str:
    """Return a survey as text for the terminal.

    Args:
        found: The survey.
        against: The other data set, if there is one.
        shared: What both have in common.
    """
    named = facts(found)
    width = max(len(name) for name, _ in named)
    lines = [f"{name:<{width}}  {value}" for name, value in named]
    for title, note, findings in tables(found, against, shared):
        lines += ["", f"{title} ({note})"]
        for finding in map(_shown, findings):
            lines.append(f"  {count_text(finding.count):>8}  {finding.what}")
            lines += [f"            {example}" for example in finding.examples]
    return "\n".join([*lines, "", *sentences(found, against, shared)])


def facts(found: Survey) -> list[tuple[str, str]]:
    """Return the names and values of what a data set holds."""
    return [
        ("data", shown_text(found.source)),
        ("rows", count_text(found.rows)),
        ("usable rows", count_text(found.usable)),
        ("shards", count_text(found.shards) if found.shards else "none"),
        ("images", f"{count_text(found.images)}, {count_text(found.contents)} different by bytes"),
        ("captions", f"{count_text(found.captions)} different"),
        ("groups", f"{count_text(found.groups)} of {plural(found.labelled, 'labelled row')}"),
        ("formats and modes", _counts(found.formats)),
        *((f"{side}, pixels", _spread(values)) for side, values in found.sides.items()),
        ("words of a caption", _spread(found.words)),
        ("scripts of captions", _counts(found.scripts)),
    ]


def tables(
    found: Survey, against: str | None, shared: list[Finding]
) -> list[tuple[str, str, list[Finding]]]:
    """Return title, note and findings of each table that has any.

    Args:
        found: The survey.
        against: The other data set, if there is one.
        shared: What both have in common.
    """
    every = [
        ("Left out", "rows that no stage uses", found.left_out),
        ("Doubtful", "used as they are: look at them", found.doubts),
        (
            "Repeated",
            "used as they are; copies under another name are not known positives",
            found.duplicates,
        ),
    ]
    if against is not None:
        note = f"rows that are also in {shown_text(against)}"
        every.append(("Leakage", note, shared or [NO_OVERLAP]))
    return [(title, note, findings) for title, note, findings in every if findings]


def sentences(found: Survey, against: str | None, shared: list[Finding]) -> list[str]:
    """Return what is most important.

    Args:
        found: The survey.
        against: The other data set, if there is one.
        shared: What both have in common.
    """
    lost = found.rows - found.usable
    said = [
        f"All {plural(found.rows, 'row')} can be used."
        if not lost
        else f"{count_text(lost)} of {plural(found.rows, 'row')} will be left out."
    ]
    if against is not None:
        images = max((finding.count for finding in shared if "image" in finding.what), default=0)
        said.append(
            f"{plural(images, 'row shows', 'rows show')} an image of {shown_text(against)}."
            if images
            else f"No row shows an image of {shown_text(against)}."
        )
    return said


def _shown(finding: Finding) -> Finding:
    return Finding(finding.what, finding.count, [shown_text(text) for text in finding.examples])


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count_text(count)}" for name, count in counts.items()) or "none"


def _spread(values: list[int]) -> str:
    if not values:
        return "none"
    low, middle, high = map(count_text, values)
    return f"{low} to {high}, median {middle}"
