"""The page: its controls and their events.

Gradio draws it; all images come from our own routes (``hardpairs.photos.serve``).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from hardpairs.core.errors import Exit, UserError
from hardpairs.pages.numbers import plural, value_text
from hardpairs.photos import cards
from hardpairs.photos.library import Library, Query, QueryImages
from hardpairs.photos.review import Pair, Review
from hardpairs.photos.search import MAX_QUERY, clean, unknown_words

HERE = Path(__file__).parent
SHOWN = (12, 24, 48, 96)
EXAMPLES = (
    "a dog in the snow",
    "people around a table",
    "sunset over the sea",
    "something red",
    "an old building",
)
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


@dataclass(frozen=True)
class PageContent:
    """The content of the page.

    Attributes:
        libraries: One or two indexes with their models.
        query_images: Images that visitors give.
        review: Hard pairs to decide on, where there are any.
        batches: HTML of a page of batches; empty where there is none.
        examples: Queries to offer.
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


def _html(*arguments: Any, **options: Any) -> gr.HTML:
    """Return a component without Gradio's own style for text."""
    return gr.HTML(*arguments, apply_default_css=False, **options)


def _script(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def build(content: PageContent) -> gr.Blocks:
    """Build the page."""
    count = plural(len(content.libraries[0].index()), "photo")
    names = " and ".join(
        dict.fromkeys(cards.escaped(library.name) for library in content.libraries)
    )
    page: gr.Blocks
    with gr.Blocks(title="Photos", analytics_enabled=False, fill_width=True) as page:
        _html(f"<h1>{count}</h1><p>Searched on this machine, with {names}.</p>", elem_id="title")
        if content.review is None and not content.batches:
            _search_part(page, content)
        else:
            with gr.Tab("Search"):
                _search_part(page, content)
            if content.review is not None:
                with gr.Tab("Hard pairs"):
                    _review_part(page, content.review)
            if content.batches:
                with gr.Tab("Batches"):
                    frame = 'class="batches" src="/batches" title="batches" loading="lazy"'
                    _html(f"<iframe {frame}></iframe>")
    page.queue(default_concurrency_limit=AT_ONCE, api_open=False)
    return page


def examples(library: Library, given: tuple[str, ...]) -> list[str]:
    """Return queries to offer: the given ones, else short captions, else everyday things."""
    index = library.index()
    rows = random.Random(0).sample(range(len(index)), min(200, len(index)))
    captions = {text for text in (index.photos.notes[row] for row in rows) if 3 < len(text) <= 40}
    return list(given) or sorted(captions)[:5] or list(EXAMPLES)


def answer(content: PageContent, query: Query, shown: Any, cut: bool) -> list[str]:
    """Return the HTML of a query's results, for each library.

    Args:
        content: What the page shows.
        query: The query; an empty one is answered with ``welcome``.
        shown: Number of results, as the browser sent it.
        cut: Whether to leave out results that do not stand out.
    """
    count = min(max(int(shown), 1), max(SHOWN))
    return [_answer(content, library, query, count, bool(cut)) for library in content.libraries]


def _answer(content: PageContent, library: Library, query: Query, count: int, cut: bool) -> str:
    index, images = library.index(), content.query_images
    if query.empty:
        return cards.welcome(index, examples(library, content.examples), seed=0)
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
        image = _html("", html_template=_DROP, js_on_load=_script("drop.js"), elem_id="picture")
        shown = gr.Radio(
            SHOWN,
            value=SHOWN[1],
            label="photos shown",
            show_label=False,
            container=False,
            elem_id="shown",
        )
        cut = gr.Checkbox(label="only what stands out", container=False, elem_id="cut")
    return _Controls(text, go, minus, image, shown, cut)


def _answers(content: PageContent) -> list[gr.HTML]:
    """Return a column for each index."""
    answers = []
    two = len(content.libraries) > 1
    with gr.Row(elem_classes="two" if two else None):
        for number, library in enumerate(content.libraries):
            with gr.Column():
                if two:
                    name, folder = map(cards.escaped, (library.name, library.folder.name))
                    _html(f'<p class="model">{name} <small>{folder}</small></p>')
                answers.append(_html(js_on_load=_script("cards.js"), elem_id=f"answer{number}"))
    return answers


def _search_events(
    page: gr.Blocks, content: PageContent, controls: _Controls, answers: list[gr.HTML]
) -> None:
    text, go, minus, image, shown, cut = controls
    like = gr.State("")  # the photo whose neighbors are shown

    def ask(text: str, minus: str, image: str, shown: Any, cut: bool, like: str = "") -> list[Any]:
        query = Query(like=like)
        if not like:
            query = Query(clean(text or ""), clean(minus or ""), image or "")
        return [like, *answer(content, query, shown, cut)]

    def neighbors(shown: Any, cut: bool, event: gr.EventData) -> list[Any]:
        return ask("", "", "", shown, cut, like=str(getattr(event, "id", ""))[:16])

    def example(minus: str, image: str, shown: Any, cut: bool, event: gr.EventData) -> list[Any]:
        text = clean(str(getattr(event, "text", "")))
        return [text, *ask(text, minus, image, shown, cut)]

    def arrive(shown: Any, cut: bool, request: gr.Request) -> list[Any]:
        text = clean(str(request.query_params.get("q", "")))  # /?q=a dog: a query to bookmark
        # Without a query, what a visitor types while the page loads is kept.
        return [text or gr.skip(), *ask(text, "", "", shown, cut)]

    asks, outputs = [text, minus, image, shown, cut], [like, *answers]
    options: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
    gr.on([text.submit, minus.submit, go.click, image.change], ask, asks, outputs, **options)
    gr.on([shown.change, cut.change], ask, [*asks, like], outputs, **options)
    for shown_answer in answers:
        shown_answer.like(neighbors, [shown, cut], outputs, **options)
        shown_answer.back(ask, asks, outputs, **options)
        shown_answer.example(example, [minus, image, shown, cut], [text, *outputs], **options)
    page.load(arrive, [shown, cut], [text, *outputs], **options)


def _review_part(page: gr.Blocks, review: Review) -> None:
    _html(
        '<p class="note">A model finds the two rows of a hard pair hard to tell apart. If both '
        "show the same thing, the pair would teach the model something wrong: reject one of them. "
        f"Mining and training leave rejected rows out (--reject). These are {review.scope()}.</p>"
    )
    shown = _html(elem_id="pair")
    with gr.Row(elem_id="decide") as decide:
        accept = gr.Button("Different: keep", elem_id="accept")
        left = gr.Button("Reject the left", elem_id="left")
        right = gr.Button("Reject the right", elem_id="right")
        skip = gr.Button("Skip", elem_id="skip")
    rejected = _html(js_on_load=_script("cards.js"), elem_id="rejected")
    pair, skipped = gr.State(None), gr.State([])

    def show(skipped: list[Pair]) -> list[Any]:
        return [*_shown_pair(review, skipped), _rejected(review)]

    def on_accept(pair: Pair | None, skipped: list[Pair]) -> list[Any]:
        if pair is not None:
            review.accept((pair[0], pair[1]))
        return show(skipped)

    def on_reject(side: int) -> Callable[[Pair | None, list[Pair]], list[Any]]:
        def act(pair: Pair | None, skipped: list[Pair]) -> list[Any]:
            if pair is not None:
                review.reject(pair[side])
            return show(skipped)

        return act

    def on_skip(pair: Pair | None, skipped: list[Pair]) -> list[Any]:
        skipped = [*skipped, (pair[0], pair[1])] if pair is not None else skipped
        return [skipped, *show(skipped)]

    def on_restore(skipped: list[Pair], event: gr.EventData) -> list[Any]:
        row = getattr(event, "row", None)
        if isinstance(row, int) and row in review.decisions().rejected:
            review.restore(row)
        return show(skipped)

    outputs = [shown, pair, decide, rejected]
    options: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    accept.click(on_accept, [pair, skipped], outputs, **options)
    left.click(on_reject(0), [pair, skipped], outputs, **options)
    right.click(on_reject(1), [pair, skipped], outputs, **options)
    skip.click(on_skip, [pair, skipped], [skipped, *outputs], **options)
    rejected.restore(on_restore, [skipped], outputs, **options)
    page.load(show, [skipped], outputs, **options)


def _shown_pair(review: Review, skipped: list[Pair]) -> list[Any]:
    """Return HTML, the pair or ``None``, and the row of buttons."""
    suspicion = review.next({(row, other) for row, other in skipped})
    total = len(review.pairs)
    if suspicion is None:
        text = f"Nothing is left to decide of {review.scope()}."
        if skipped:
            text = "Only skipped pairs are left; reload the page to see them again."
        if not total:
            text = "This table holds no hard pair that could be shown."
        return [cards.note(text), None, gr.Row(visible=False)]
    pair, score = review.pair(suspicion), ""
    if review.table.has_scores:
        score = value_text(float(review.table.scores[suspicion.row, suspicion.rank]), "score")
    html = cards.pair_html(
        pair,
        (review.samples.caption(pair[0]), review.samples.caption(pair[1])),
        score=score,
        reason=suspicion.reason,
        decided=review.decided(),
        total=total,
    )
    return [html, pair, gr.Row(visible=True)]


def _rejected(review: Review) -> str:
    rows = [(row, review.samples.caption(row)) for row in sorted(review.decisions().rejected)]
    return cards.rejected_html(rows, str(review.path))
