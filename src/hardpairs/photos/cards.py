"""The page's own HTML: photographs as cards. Every text that comes from a file, a caption or a visitor is escaped here."""

from __future__ import annotations

import random
from html import escape
from pathlib import PurePath

from hardpairs.pages.album import shown_text
from hardpairs.pages.numbers import count_text, plural
from hardpairs.photos.index import Index
from hardpairs.photos.pictures import is_there
from hardpairs.photos.search import Hit

WELCOME = 24
GONE = "no longer there"


def _text(text: str) -> str:
    """Escaped, for content and for attributes, and without what a template might act on."""
    return (
        escape(shown_text(text))
        .replace("$", "&#36;")
        .replace("{", "&#123;")
        .replace("}", "&#125;")
        .replace("@", "&#64;")
    )


def name_of(index: Index, row: int) -> str:
    """What a photograph is called on the page."""
    place = index.photos.place(row)
    return place.key or PurePath(place.path).name


def card(index: Index, row: int, similarity: float | None = None) -> str:
    """One photograph; a click on it asks for its neighbours. One that is gone says so."""
    place = index.photos.place(row)
    name, caption, photo = (
        _text(name_of(index, row)),
        _text(index.photos.notes[row]),
        index.ids[row],
    )
    score = (
        ""
        if similarity is None
        else f'<span class="score" title="cosine similarity">{similarity:.2f}</span>'
    )
    label = f'<figcaption title="{_text(place.path)}"><span class="name">{caption or name}</span>{score}</figcaption>'
    if not is_there(place):
        return f'<figure class="hit gone"><span class="frame">{GONE}</span>{label}</figure>'
    return (
        f'<figure class="hit"><button type="button" class="frame" data-like="{photo}" aria-label="photographs like {name}">'
        f'<img src="/photo/{photo}" alt="{caption or name}" loading="lazy" decoding="async"></button>{label}'
        f'<a class="large" href="/photo/{photo}/large" target="_blank" rel="noopener" aria-label="open {name} large">⤢</a></figure>'
    )


def grid(cards: list[str]) -> str:
    return f'<div class="grid">{"".join(cards)}</div>' if cards else ""


def note(text: str, kind: str = "") -> str:
    """A line of plain text above the photographs."""
    return f'<p class="note {kind}" role="status">{_text(text)}</p>'


def results(index: Index, hits: list[Hit], *, heading: str, cut: bool, warning: str = "") -> str:
    """The answer to a question."""
    cards = [card(index, hit.row, hit.similarity) for hit in hits]
    gone = sum('class="hit gone"' in made for made in cards)
    parts = [note(warning, "warning")] if warning else []
    if gone:
        parts.append(
            note(
                f"{plural(gone, 'photograph is', 'photographs are')} no longer there. Index again to forget them.",
                "warning",
            )
        )
    if not hits and cut:
        return "".join(
            [
                *parts,
                note(
                    "Nothing stands out from the rest of the collection. Other words may help, or the box above unticked."
                ),
            ]
        )
    return "".join([*parts, f'<p class="heading">{heading}</p>', grid(cards)])


def question_heading(text: str, minus: str, given: str) -> str:
    """What the photographs below answer; ``given`` is the name in ``Asked`` of a visitor's picture."""
    parts = [f"“{_text(text)}”"] if text else []
    if given:
        parts.append(f'<img class="small" src="/asked/{given}" alt="your picture">')
    line = " and ".join(parts) or "everything"
    return f"{line}, without “{_text(minus)}”" if minus else line


def like_heading(index: Index, photo: str) -> str:
    name = _text(name_of(index, index.row_of[photo]))
    return f'like <img class="small" src="/photo/{photo}" alt=""> {name} <button type="button" class="quiet" data-back="1">back</button>'


def welcome(index: Index, examples: list[str], *, seed: int) -> str:
    """The page before the first question: what one could ask, and some of the photographs."""
    if not len(index):
        return note(
            "This index holds no photograph. Index a folder first: python -m tools.photo_search index FOLDER --out INDEX"
        )
    chips = "".join(
        f'<button type="button" class="chip" data-query="{_text(text)}">{_text(text)}</button>'
        for text in examples
    )
    rows = random.Random(seed).sample(range(len(index)), min(WELCOME, len(index)))
    shown = [row for row in rows if is_there(index.photos.place(row))]
    heading = f"Some of {count_text(len(index))} photographs. Click one to see its neighbours."
    return f'<div class="chips">{chips}</div><p class="heading">{heading}</p>{grid([card(index, row) for row in shown])}'


def pair(
    row: int,
    partner: int,
    captions: tuple[str, str],
    *,
    score: str,
    reason: str,
    done: int,
    total: int,
) -> str:
    """A hard pair, large."""
    sides = "".join(
        f'<figure><img src="/pair/{number}" alt=""><figcaption>{_text(caption)}<small>row {number}</small></figcaption></figure>'
        for number, caption in zip((row, partner), captions, strict=True)
    )
    facts = " · ".join(filter(None, [f"score {score}" if score else "", _text(reason)]))
    return f'<p class="progress"><b>{count_text(done)}</b> of {plural(total, "pair")} decided</p><div class="pair">{sides}</div><p class="facts">{facts}</p>'


def rejected(rows: list[tuple[int, str]], path: str) -> str:
    """The rows that are out, each with a way back."""
    if not rows:
        return f'<p class="note">Nothing is rejected yet. Rejected rows go to <code>{_text(path)}</code>.</p>'
    items = "".join(
        f'<li><img src="/pair/{row}" alt="" loading="lazy"><span>{_text(caption)}</span>'
        f'<button type="button" class="quiet" data-restore="{row}">take back</button></li>'
        for row, caption in rows
    )
    return f'<p class="heading">{plural(len(rows), "row")} rejected, in <code>{_text(path)}</code></p><ul class="rejected">{items}</ul>'
