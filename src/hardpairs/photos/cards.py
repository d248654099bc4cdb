"""The page's own HTML: photos as cards; it escapes the text of files, captions and visitors."""

from __future__ import annotations

import random
from html import escape
from pathlib import PurePath

from hardpairs.pages.album import shown_text
from hardpairs.pages.numbers import count_text, plural
from hardpairs.photos.index import Index
from hardpairs.photos.photo_files import exists
from hardpairs.photos.search import SearchResult

WELCOME = 24
"""Photos that are shown before the first query."""
GONE = "no longer there"


def escaped(text: str) -> str:
    """Escape a text for HTML content, attributes and the page's templates."""
    return (
        escape(shown_text(text))
        .replace("$", "&#36;")
        .replace("{", "&#123;")
        .replace("}", "&#125;")
        .replace("@", "&#64;")
    )


def name_of(index: Index, row: int) -> str:
    """Return the name of a photo on the page."""
    file = index.photos.file(row)
    return file.key or PurePath(file.path).name


def card(index: Index, row: int, similarity: float | None = None) -> str:
    """Return the card of a photo; a click on it asks for its neighbors.

    Args:
        index: The index.
        row: Row of the photo. A photo whose file is gone gets a card that says so.
        similarity: Shown on the card where it is given.
    """
    file, photo = index.photos.file(row), index.ids[row]
    name, caption = escaped(name_of(index, row)), escaped(index.photos.notes[row])
    score = ""
    if similarity is not None:
        score = f'<span class="score" title="cosine similarity">{similarity:.2f}</span>'
    label = (
        f'<figcaption title="{escaped(file.path)}"><span class="name">{caption or name}</span>'
        f"{score}</figcaption>"
    )
    if not exists(file):
        frame = f'<span class="frame">{GONE}</span>'
        return f'<figure class="photo-card gone">{frame}{label}</figure>'
    return (
        '<figure class="photo-card">'
        f'<button type="button" class="frame" data-like="{photo}" aria-label="photos like {name}">'
        f'<img src="/photo/{photo}" alt="{caption or name}" loading="lazy" decoding="async">'
        f'</button>{label}<a class="large" href="/photo/{photo}/large" target="_blank" '
        f'rel="noopener" aria-label="open {name} large">⤢</a></figure>'
    )


def grid(cards: list[str]) -> str:
    """Return a grid of cards."""
    return f'<div class="grid">{"".join(cards)}</div>' if cards else ""


def note(text: str, kind: str = "") -> str:
    """Return a line of plain text above the photos."""
    return f'<p class="note {kind}" role="status">{escaped(text)}</p>'


def results_html(
    index: Index, results: list[SearchResult], *, heading: str, cut: bool, warning: str = ""
) -> str:
    """Return the results of a query.

    Args:
        index: The index that was searched.
        results: The results, best first.
        heading: HTML, as of ``query_heading``.
        cut: Whether results that do not stand out were left out.
        warning: Plain text above the results.
    """
    cards = [card(index, result.row, result.similarity) for result in results]
    gone = sum('class="photo-card gone"' in html for html in cards)
    parts = [note(warning, "warning")] if warning else []
    if gone:
        count = plural(gone, "photo is", "photos are")
        parts.append(
            note(f"{count} no longer there. Index again to remove them from the index.", "warning")
        )
    if not results and cut:
        text = "No photo stands out. Try other words, or untick the box above."
        return "".join([*parts, note(text)])
    return "".join([*parts, f'<p class="heading">{heading}</p>', grid(cards)])


def query_heading(text: str, minus: str, image: str) -> str:
    """Return the heading of a query's results.

    Args:
        text: What was asked for.
        minus: What was left out.
        image: Name of a given image in ``QueryImages``; may be empty.
    """
    parts = [f"“{escaped(text)}”"] if text else []
    if image:
        parts.append(f'<img class="small" src="/asked/{image}" alt="your image">')
    line = " and ".join(parts) or "everything"
    return f"{line}, without “{escaped(minus)}”" if minus else line


def like_heading(index: Index, photo: str) -> str:
    """Return the heading of a photo's neighbors, with a button that leads back."""
    name = escaped(name_of(index, index.row_of[photo]))
    return (
        f'like <img class="small" src="/photo/{photo}" alt=""> {name} '
        '<button type="button" class="quiet" data-back="1">back</button>'
    )


def welcome(index: Index, examples: list[str], *, seed: int) -> str:
    """Return the page before the first query: example queries, and some of the photos.

    Args:
        index: The photos.
        examples: Queries to offer.
        seed: Of the choice of photos.
    """
    if not len(index):
        return note(
            "This index holds no photo. Index a folder first: "
            "hardpairs photos index FOLDER --out INDEX"
        )
    chips = "".join(
        f'<button type="button" class="chip" data-query="{escaped(text)}">{escaped(text)}</button>'
        for text in examples
    )
    rows = random.Random(seed).sample(range(len(index)), min(WELCOME, len(index)))
    photos = grid([card(index, row) for row in rows if exists(index.photos.file(row))])
    heading = f"Some of {count_text(len(index))} photos. Click one to see its neighbors."
    return f'<div class="chips">{chips}</div><p class="heading">{heading}</p>{photos}'


def pair_html(
    rows: tuple[int, int],
    captions: tuple[str, str],
    *,
    score: str,
    reason: str,
    decided: int,
    total: int,
) -> str:
    """Return a hard pair, large.

    Args:
        rows: Row numbers of the pair.
        captions: Their captions.
        score: The score as text; may be empty.
        reason: Why the pair is suspicious.
        decided: Number of pairs that are decided.
        total: Number of pairs.
    """
    sides = "".join(
        f'<figure><img src="/pair/{row}" alt=""><figcaption>{escaped(caption)}'
        f"<small>row {row}</small></figcaption></figure>"
        for row, caption in zip(rows, captions, strict=True)
    )
    facts = " · ".join(filter(None, [f"score {score}" if score else "", escaped(reason)]))
    progress = f"<b>{count_text(decided)}</b> of {plural(total, 'pair')} decided"
    return (
        f'<p class="progress">{progress}</p><div class="pair">{sides}</div>'
        f'<p class="facts">{facts}</p>'
    )


def rejected_html(rows: list[tuple[int, str]], path: str) -> str:
    """Return the rejected rows, each with a button that takes it back.

    Args:
        rows: (row number, caption) of each.
        path: The file that holds them.
    """
    file = f"<code>{escaped(path)}</code>"
    if not rows:
        return f'<p class="note">Nothing is rejected yet. Rejected rows are written to {file}.</p>'
    items = "".join(
        f'<li><img src="/pair/{row}" alt="" loading="lazy"><span>{escaped(caption)}</span>'
        f'<button type="button" class="quiet" data-restore="{row}">take back</button></li>'
        for row, caption in rows
    )
    heading = f'<p class="heading">{plural(len(rows), "row")} rejected, in {file}</p>'
    return f'{heading}<ul class="rejected">{items}</ul>'


def kept_html(pairs: list[tuple[tuple[int, int], tuple[str, str]]]) -> str:
    """Return the pairs that were kept, each with a button that takes it back.

    Args:
        pairs: (rows, captions) of each.
    """
    if not pairs:
        return ""
    items = "".join(
        f'<li><img src="/pair/{i}" alt="" loading="lazy"><img src="/pair/{j}" alt="" '
        f'loading="lazy"><span>{escaped(first)} / {escaped(second)}</span>'
        f'<button type="button" class="quiet" data-reopen="{i} {j}">take back</button></li>'
        for (i, j), (first, second) in pairs
    )
    summary = f"<summary>{plural(len(pairs), 'pair')} kept</summary>"
    return f'<details>{summary}<ul class="rejected">{items}</ul></details>'
