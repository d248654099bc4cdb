"""The page: what there is to click, and what follows. Gradio draws it; every picture comes from our own routes (``hardpairs.photos.serve``)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from hardpairs.core.errors import Exit, UserError
from hardpairs.pages.numbers import count_text, value_text
from hardpairs.photos import cards
from hardpairs.photos.library import Asked, Library, Question
from hardpairs.photos.review import Review
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
"""Searches that run at the same time; the others wait in line."""

_DROP = """
<label class="drop" tabindex="0">${value ? `<img src="/asked/${value}" alt="">` : ""}
<span>${value ? "your picture" : "a picture like it: choose, drop, paste"}</span>
<input type="file" accept="image/*" aria-label="a picture like it">
${value ? `<button type="button" class="drop-clear" aria-label="without the picture">×</button>` : ""}</label>
<p class="drop-message" role="status"></p>
"""


@dataclass(frozen=True)
class Shelf:
    """What the page shows: one or two indexes, hard pairs where there are any, and whether there is a page of batches."""

    libraries: list[Library]
    asked: Asked
    review: Review | None = None
    batches: bool = False
    examples: tuple[str, ...] = ()


def theme() -> gr.themes.Base:
    """System fonts: nothing is fetched."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    return gr.themes.Base(
        font=fonts, font_mono=["ui-monospace", "monospace"], neutral_hue="stone", primary_hue="blue"
    )


def _html(*arguments: Any, **options: Any) -> gr.HTML:
    """Without Gradio's own style for running text."""
    return gr.HTML(*arguments, apply_default_css=False, **options)


def _script(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def build(shelf: Shelf) -> gr.Blocks:
    count = count_text(len(shelf.libraries[0].index()))
    with gr.Blocks(title="Photographs", analytics_enabled=False, fill_width=True) as page:
        names = " and ".join(
            dict.fromkeys(cards._text(library.name) for library in shelf.libraries)
        )
        _html(
            f"<h1>{count} photographs</h1><p>Searched on this machine, with {names}.</p>",
            elem_id="title",
        )
        if shelf.review is None and not shelf.batches:
            _search_part(page, shelf)
        else:
            with gr.Tab("Search"):
                _search_part(page, shelf)
            if shelf.review is not None:
                with gr.Tab("Hard pairs"):
                    _review_part(page, shelf.review)
            if shelf.batches:
                with gr.Tab("Batches"):
                    _html(
                        '<iframe class="batches" src="/batches" title="batches" loading="lazy"></iframe>'
                    )
    page.queue(default_concurrency_limit=AT_ONCE, api_open=False)
    return page


def examples(library: Library, given: tuple[str, ...]) -> list[str]:
    """Queries to offer: the given ones, else short captions of the collection's own, else everyday things."""
    index = library.index()
    rows = random.Random(0).sample(range(len(index)), min(200, len(index)))
    captions = {text for text in (index.photos.notes[row] for row in rows) if 3 < len(text) <= 40}
    return list(given) or sorted(captions)[:5] or list(EXAMPLES)


def answer(shelf: Shelf, question: Question, shown: Any, cut: bool) -> list[str]:
    """HTML for each library."""
    count = min(max(int(shown), 1), max(SHOWN))
    return [_answer(shelf, library, question, count, bool(cut)) for library in shelf.libraries]


def _answer(shelf: Shelf, library: Library, question: Question, count: int, cut: bool) -> str:
    index = library.index()
    if question.empty:
        return cards.welcome(index, examples(library, shelf.examples), seed=0)
    if question.like and question.like not in index.row_of:
        return cards.note("This photograph is not in this index.")
    if question.picture and shelf.asked.vector(question.picture, library) is None:
        return cards.note("That picture is no longer kept. Give it once more.")
    try:
        index, hits = library.find(question, shelf.asked, count, cut=cut)
    except UserError as error:
        return cards.note(
            f"{error.what[0].upper()}{error.what[1:]}: {error.fix}."
            if error.code == Exit.USAGE
            else error.what
        )
    like = question.like in index.row_of
    heading = (
        cards.like_heading(index, question.like)
        if like
        else cards.question_heading(question.text, question.minus, question.picture)
    )
    strange = unknown_words(library.encoders, [question.text, question.minus])
    return cards.results(
        index,
        hits,
        heading=heading,
        cut=cut,
        warning=" ".join(filter(None, [library.warning, strange])),
    )


def _search_part(page: gr.Blocks, shelf: Shelf) -> None:
    asking = _asking()
    _search_events(page, shelf, asking, _answers(shelf))


class _Asking(NamedTuple):
    """What a visitor can set."""

    text: gr.Textbox
    go: gr.Button
    minus: gr.Textbox
    picture: gr.HTML
    shown: gr.Radio
    cut: gr.Checkbox


def _asking() -> _Asking:
    box = {"show_label": False, "container": False, "max_lines": 1, "max_length": MAX_QUERY}
    with gr.Row(elem_id="ask"):
        placeholder = "What does the photograph show?"
        text = gr.Textbox(
            placeholder=placeholder,
            label="what the photograph shows",
            autofocus=True,
            lines=1,
            elem_id="text",
            **box,
        )
        go = gr.Button("Search", variant="primary", elem_id="go", scale=0)
    with gr.Row(elem_id="more"):
        minus = gr.Textbox(placeholder="but without…", label="but without", elem_id="minus", **box)
        picture = _html("", html_template=_DROP, js_on_load=_script("drop.js"), elem_id="picture")
        shown = gr.Radio(
            SHOWN,
            value=SHOWN[1],
            label="photographs shown",
            show_label=False,
            container=False,
            elem_id="shown",
        )
        cut = gr.Checkbox(label="only what stands out", container=False, elem_id="cut")
    return _Asking(text, go, minus, picture, shown, cut)


def _answers(shelf: Shelf) -> list[gr.HTML]:
    """A column for each index."""
    answers = []
    with gr.Row(elem_classes="two" if len(shelf.libraries) > 1 else None):
        for number, library in enumerate(shelf.libraries):
            with gr.Column():
                if len(shelf.libraries) > 1:
                    _html(
                        f'<p class="model">{cards._text(library.name)} <small>{cards._text(library.folder.name)}</small></p>'
                    )
                answers.append(_html(js_on_load=_script("cards.js"), elem_id=f"answer{number}"))
    return answers


def _search_events(page: gr.Blocks, shelf: Shelf, asking: _Asking, answers: list[gr.HTML]) -> None:
    text, go, minus, picture, shown, cut = asking
    like = gr.State("")  # the photograph whose neighbours are shown

    def ask(text: str, minus: str, picture: str, shown: Any, cut: bool, like: str = "") -> list:
        question = (
            Question(like=like)
            if like
            else Question(clean(text or ""), clean(minus or ""), picture or "")
        )
        return [like, *answer(shelf, question, shown, cut)]

    def neighbours(shown: Any, cut: bool, event: gr.EventData) -> list:
        return ask("", "", "", shown, cut, like=str(getattr(event, "id", ""))[:16])

    def example(minus: str, picture: str, shown: Any, cut: bool, event: gr.EventData) -> list:
        text = clean(str(getattr(event, "text", "")))
        return [text, *ask(text, minus, picture, shown, cut)]

    def arrive(shown: Any, cut: bool, request: gr.Request) -> list:
        text = clean(str(request.query_params.get("q", "")))  # /?q=a dog: a question to bookmark
        return [
            text or gr.skip(),
            *ask(text, "", "", shown, cut),
        ]  # who types at once keeps what was typed

    asks, outputs = [text, minus, picture, shown, cut], [like, *answers]
    options = {"api_visibility": "private", "show_progress": "minimal"}
    gr.on([text.submit, minus.submit, go.click, picture.change], ask, asks, outputs, **options)
    gr.on([shown.change, cut.change], ask, [*asks, like], outputs, **options)
    for shown_answer in answers:
        shown_answer.like(neighbours, [shown, cut], outputs, **options)
        shown_answer.back(ask, asks, outputs, **options)
        shown_answer.example(example, [minus, picture, shown, cut], [text, *outputs], **options)
    page.load(arrive, [shown, cut], [text, *outputs], **options)


def _review_part(page: gr.Blocks, review: Review) -> None:
    _html(
        '<p class="note">Two rows that a model finds hard to tell apart. If both show the same thing, the pair would teach it something '
        f"wrong: reject one of them. Mining and training leave rejected rows out (--reject). Here are {review.scope()}.</p>"
    )
    shown = _html(elem_id="pair")
    with gr.Row(elem_id="decide") as decide:
        accept = gr.Button("Different: keep", elem_id="accept")
        left = gr.Button("Reject the left", elem_id="left")
        right = gr.Button("Reject the right", elem_id="right")
        skip = gr.Button("Skip", elem_id="skip")
    out = _html(js_on_load=_script("cards.js"), elem_id="rejected")
    pair, skipped = gr.State(None), gr.State([])

    def show(skipped: list) -> list:
        return [*_shown_pair(review, skipped), _rejected(review)]

    def kept(pair: tuple | None, skipped: list) -> list:
        if pair is not None:
            review.accept(tuple(pair))
        return show(skipped)

    def rejected(side: int):
        def act(pair: tuple | None, skipped: list) -> list:
            if pair is not None:
                review.reject(pair[side])
            return show(skipped)

        return act

    def passed(pair: tuple | None, skipped: list) -> list:
        skipped = [*skipped, tuple(pair)] if pair is not None else skipped
        return [skipped, *show(skipped)]

    def restored(skipped: list, event: gr.EventData) -> list:
        row = getattr(event, "row", None)
        if isinstance(row, int) and row in review.decisions().rejected:
            review.restore(row)
        return show(skipped)

    outputs, options = (
        [shown, pair, decide, out],
        {"api_visibility": "private", "show_progress": "hidden"},
    )
    accept.click(kept, [pair, skipped], outputs, **options)
    left.click(rejected(0), [pair, skipped], outputs, **options)
    right.click(rejected(1), [pair, skipped], outputs, **options)
    skip.click(passed, [pair, skipped], [skipped, *outputs], **options)
    out.restore(restored, [skipped], outputs, **options)
    page.load(show, [skipped], outputs, **options)


def _shown_pair(review: Review, skipped: list) -> list:
    """(HTML, the pair, whether there is something to decide)."""
    suspicion = review.next({tuple(pair) for pair in skipped})
    done, total = review.looked_at(), len(review.pairs)
    if suspicion is None:
        text = (
            "Nothing is left but what you skipped; a reload shows it again."
            if skipped
            else f"Nothing is left to decide of {review.scope()}."
        )
        text = text if total else "This table holds no hard pair that could be shown."
        return [cards.note(text), None, gr.Row(visible=False)]
    partner = review.partner(suspicion)
    captions = (review.samples.caption(suspicion.row), review.samples.caption(partner))
    known = review.table.has_scores
    score = (
        value_text(float(review.table.scores[suspicion.row, suspicion.place]), "score")
        if known
        else ""
    )
    html = cards.pair(
        suspicion.row,
        partner,
        captions,
        score=score,
        reason=suspicion.reason,
        done=done,
        total=total,
    )
    return [html, (suspicion.row, partner), gr.Row(visible=True)]


def _rejected(review: Review) -> str:
    rows = sorted(review.decisions().rejected)
    return cards.rejected([(row, review.samples.caption(row)) for row in rows], str(review.path))
