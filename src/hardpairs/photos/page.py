"""The page: its controls and their events.

Gradio draws it; all images come from our own routes (``hardpairs.photos.serve``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import gradio as gr

from hardpairs.core.errors import Exit, UserError
from hardpairs.pages.numbers import plural
from hardpairs.photos import cards
from hardpairs.photos.address import DEFAULT_SHOWN, SHOWN, Visit
from hardpairs.photos.components import html, script
from hardpairs.photos.library import Library, Query, QueryImages
from hardpairs.photos.review import Review
from hardpairs.photos.review_part import review_part
from hardpairs.photos.search import MAX_QUERY, clean, unknown_words

AT_ONCE = 8
"""Searches that run at the same time; the others wait in a queue."""

_DROP = """
<label class="drop" tabindex="0">${value ? `<img src="/asked/${value}" alt="">` : ""}
<span>${value ? "your image" : "an image like it: choose, drop, paste"}</span>
<input type="file" accept="image/*" aria-label="an image like it">
${value ? `<button type="button" class="drop-clear" aria-label="without the image">×</button>` : ""}
</label>
<p class="drop-message" role="status"></p>
"""
_BUSY = """
<span role="status"></span> <span aria-hidden="true"></span>
<button type="button" class="quiet">Cancel</button>
"""


@dataclass(frozen=True)
class PageContent:
    """The content of the page.

    Attributes:
        libraries: One or two indexes with their models.
        query_images: Images that visitors give.
        review: Hard pairs to decide on, where there are any.
        batches: HTML of a page of batches; empty where there is none.
        examples: Queries to offer; empty: those that fit each index and its model.
    """

    libraries: list[Library]
    query_images: QueryImages
    review: Review | None = None
    batches: str = ""
    examples: tuple[str, ...] = ()


def theme() -> gr.themes.Base:
    """Return a theme of system fonts, for which nothing is downloaded."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    return gr.themes.Base(
        font=fonts, font_mono=["ui-monospace", "monospace"], neutral_hue="stone", primary_hue="blue"
    )


def build(content: PageContent) -> gr.Blocks:
    """Build the page."""
    count = plural(len(content.libraries[0].index()), "photo")
    names = " and ".join(
        dict.fromkeys(cards.escaped(library.name) for library in content.libraries)
    )
    page: gr.Blocks
    with gr.Blocks(title="Photos", analytics_enabled=False, fill_width=True) as page:
        html(f"<h1>{count}</h1><p>Searched on this machine, with {names}.</p>", elem_id="title")
        if content.review is None and not content.batches:
            _search_part(page, content)
        else:
            with gr.Tab("Search", elem_id="search"):
                _search_part(page, content)
            if content.review is not None:
                with gr.Tab("Hard pairs", elem_id="review"):
                    review_part(page, content.review)
            if content.batches:
                with gr.Tab("Batches", elem_id="batches"):
                    frame = 'class="batches" src="/batches" title="batches" loading="lazy"'
                    html(f"<iframe {frame}></iframe>")
    page.queue(default_concurrency_limit=AT_ONCE, api_open=False)
    return page


def answer(content: PageContent, query: Query, shown: Any, cut: bool) -> list[str]:
    """Return the HTML of a query's results, for each library.

    Args:
        content: What the page shows.
        query: The query; an empty one is answered with ``welcome``.
        shown: Number of results, as the browser sent it.
        cut: Whether to leave out results that do not stand out.
    """
    count = min(max(int(shown), 1), max(SHOWN))
    if query.like:  # the texts in the boxes are for the way back
        query = Query(like=query.like)
    return [_answer(content, library, query, count, bool(cut)) for library in content.libraries]


def _answer(content: PageContent, library: Library, query: Query, count: int, cut: bool) -> str:
    index, images = library.index(), content.query_images
    if query.empty:
        return cards.welcome(index, [*content.examples] or library.examples(), seed=0)
    if query.like and query.like not in index.row_of:
        return cards.note("This photo is not in this index.")
    if query.image and images.vector(query.image, library) is None:
        return cards.note("That image is no longer kept. Give it once more.")
    try:
        index, results = library.search(query, images, count, cut=cut)
    except UserError as error:
        if error.code != Exit.USAGE:
            return cards.note(error.what)
        return cards.note(f"{error.what[0].upper()}{error.what[1:]}: {error.fix}.")
    if query.like in index.row_of:
        heading = cards.like_heading(index, query.like)
    else:
        heading = cards.query_heading(query.text, query.minus, query.image)
    unknown = unknown_words(library.encoders, [query.text, query.minus])
    warning = " ".join(filter(None, [library.warning, unknown]))
    return cards.results_html(index, results, heading=heading, cut=cut, warning=warning)


def _search_part(page: gr.Blocks, content: PageContent) -> None:
    controls = _controls()
    _search_events(page, content, controls, _answers(content))


class _Controls(NamedTuple):
    """The inputs that a visitor can set."""

    text: gr.Textbox
    go: gr.Button
    minus: gr.Textbox
    image: gr.HTML
    shown: gr.Radio
    cut: gr.Checkbox
    busy: gr.HTML
    address: gr.HTML


def _controls() -> _Controls:
    box: dict[str, Any] = {
        "show_label": False,
        "container": False,
        "max_lines": 1,
        "max_length": MAX_QUERY,
    }
    with gr.Row(elem_id="ask"):
        text = gr.Textbox(
            placeholder="What does the photo show?",
            label="what the photo shows",
            autofocus=True,
            lines=1,
            elem_id="text",
            **box,
        )
        go = gr.Button("Search", variant="primary", elem_id="go", scale=0)
    with gr.Row(elem_id="more"):
        minus = gr.Textbox(placeholder="but without…", label="but without", elem_id="minus", **box)
        image = html("", html_template=_DROP, js_on_load=script("drop.js"), elem_id="picture")
        shown = gr.Radio(
            SHOWN,
            value=DEFAULT_SHOWN,
            label="photos shown",
            show_label=False,
            container=False,
            elem_id="shown",
        )
        cut = gr.Checkbox(label="only what stands out", container=False, elem_id="cut")
    busy = html("", html_template=_BUSY, js_on_load=script("busy.js"), elem_id="busy")
    address = html("", html_template="", js_on_load=script("address.js"), elem_id="address")
    return _Controls(text, go, minus, image, shown, cut, busy, address)


def _answers(content: PageContent) -> list[gr.HTML]:
    """Return a column for each index."""
    answers = []
    two = len(content.libraries) > 1
    with gr.Row(elem_classes="two" if two else None):
        for number, library in enumerate(content.libraries):
            with gr.Column():
                if two:
                    name, folder = map(cards.escaped, (library.name, library.folder.name))
                    html(f'<p class="model">{name} <small>{folder}</small></p>')
                answers.append(html(js_on_load=script("cards.js"), elem_id=f"answer{number}"))
    return answers


def _search_events(
    page: gr.Blocks, content: PageContent, controls: _Controls, answers: list[gr.HTML]
) -> None:
    text, go, minus, image, shown, cut, busy, address = controls
    like = gr.State("")  # the photo whose neighbors are shown

    def show(visit: Visit) -> list[Any]:
        found = answer(content, visit.query, visit.shown, visit.cut)
        return [visit.query.like, visit.address(), *found]

    def ask(text: str, minus: str, image: str, shown: Any, cut: bool, like: str = "") -> list[Any]:
        query = Query(clean(text or ""), clean(minus or ""), image or "", like)
        return show(Visit(query, int(shown), bool(cut)))

    def neighbors(
        text: str, minus: str, image: str, shown: Any, cut: bool, event: gr.EventData
    ) -> list[Any]:
        photo = str(getattr(event, "id", ""))[:16]
        return ask(text, minus, image, shown, cut, like=photo)

    def example(minus: str, image: str, shown: Any, cut: bool, event: gr.EventData) -> list[Any]:
        text = clean(str(getattr(event, "text", "")))
        return [text, *ask(text, minus, image, shown, cut)]

    def arrive(request: gr.Request) -> list[Any]:
        visit = Visit.read({name: str(value) for name, value in request.query_params.items()})
        query = visit.query
        # What a visitor types while the page loads is kept.
        boxes = [value or gr.skip() for value in (query.text, query.minus, query.image)]
        return [*boxes, visit.shown, visit.cut, *show(visit)]

    def travel(event: gr.EventData) -> list[Any]:
        visit = Visit.read(dict(parse_qsl(str(getattr(event, "address", "")).removeprefix("?"))))
        query = visit.query
        return [query.text, query.minus, query.image, visit.shown, visit.cut, *show(visit)]

    asks, outputs = [text, minus, image, shown, cut], [like, address, *answers]
    options: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
    latest = {**options, "trigger_mode": "always_last"}
    events = [
        gr.on([text.submit, minus.submit, go.click], ask, asks, outputs, **options),
        image.given(ask, asks, outputs, **options),
        gr.on([shown.input, cut.input], ask, [*asks, like], outputs, **latest),
        page.load(arrive, None, [*asks, *outputs], **options),
        address.travel(travel, None, [*asks, *outputs], **options),
    ]
    for shown_answer in answers:
        events += [
            shown_answer.like(neighbors, asks, outputs, **options),
            shown_answer.back(ask, asks, outputs, **options),
            shown_answer.example(example, [minus, image, shown, cut], [text, *outputs], **options),
        ]
    busy.cancel(None, None, None, cancels=events)
