"""The page's part for hard pairs: one pair, what can be decided, and what was decided."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from hardpairs.pages.numbers import value_text
from hardpairs.photos import cards
from hardpairs.photos.components import html, script
from hardpairs.photos.review import Pair, Review, Sitting

INTRODUCTION = (
    "A model finds the two rows of a hard pair hard to tell apart. If both show the same thing, "
    "the pair would teach the model something wrong: reject one of them. Mining and training leave "
    "rejected rows out (--reject)."
)
KEYS = (
    ("y", "different: keep"),
    ("n", "reject the right"),
    ("l", "reject the left"),
    ("j or \u2192", "skip"),
    ("k or \u2190", "back to the skipped"),
    ("u", "undo"),
)
"""Keys and what they do, as ``review.js`` has them."""


def review_part(page: gr.Blocks, review: Review) -> None:
    """Build the part.

    Args:
        page: The page that it is part of.
        review: The pairs.
    """
    html(f'<p class="note">{INTRODUCTION} These are {review.scope()}.</p>')
    shown = html(js_on_load=script("review.js"), elem_id="pair")
    with gr.Row(elem_id="decide") as decide:
        accept = gr.Button("Different: keep", elem_id="accept")
        left = gr.Button("Reject the left", elem_id="left")
        right = gr.Button("Reject the right", elem_id="right")
        skip = gr.Button("Skip", elem_id="skip")
    with gr.Row(elem_id="again"):
        back = gr.Button("Back to the skipped", elem_id="back")
        undo = gr.Button("Undo", elem_id="undo")
    keys = " \u00b7 ".join(f"<kbd>{key}</kbd> {does}" for key, does in KEYS)
    html(f'<p class="note keys">Keys, once this part is clicked: {keys}</p>')
    decided = html(js_on_load=script("cards.js"), elem_id="rejected")
    pair, sitting = gr.State(None), gr.State(Sitting())

    def show(sitting: Sitting) -> list[Any]:
        return [sitting, *shown_pair(review, sitting), _decided(review)]

    Step = Callable[[Pair, Sitting], Sitting]

    def on(step: Step) -> Callable[[Pair | None, Sitting], list[Any]]:
        def act(pair: Pair | None, sitting: Sitting) -> list[Any]:
            return show(sitting if pair is None else step((pair[0], pair[1]), sitting))

        return act

    def on_restore(sitting: Sitting, event: gr.EventData) -> list[Any]:
        row = getattr(event, "row", None)
        if isinstance(row, int) and row in review.decisions().rejected:
            review.restore(row)
        return show(sitting)

    def on_reopen(sitting: Sitting, event: gr.EventData) -> list[Any]:
        rows = getattr(event, "rows", None)
        if isinstance(rows, list) and tuple(rows) in review.decisions().accepted:
            review.reopen((rows[0], rows[1]))
        return show(sitting)

    outputs = [sitting, shown, pair, decide, decided]
    options: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    steps: list[tuple[gr.Button, Step]] = [
        (accept, lambda pair, sitting: sitting.keep(review, pair)),
        (left, lambda pair, sitting: sitting.reject(review, pair[0])),
        (right, lambda pair, sitting: sitting.reject(review, pair[1])),
        (skip, lambda pair, sitting: sitting.skip(pair)),
    ]
    for button, step in steps:
        button.click(on(step), [pair, sitting], outputs, **options)
    back.click(lambda sitting: show(sitting.back()), sitting, outputs, **options)
    undo.click(lambda sitting: show(sitting.undo(review)), sitting, outputs, **options)
    decided.restore(on_restore, sitting, outputs, **options)
    decided.reopen(on_reopen, sitting, outputs, **options)
    page.load(show, sitting, outputs, **options)


def shown_pair(review: Review, sitting: Sitting) -> list[Any]:
    """Return HTML, the pair or ``None``, and the row of buttons."""
    suspicion = review.next(set(sitting.skipped))
    total = len(review.pairs)
    if suspicion is None:
        text = f"Nothing is left to decide of {review.scope()}."
        if sitting.skipped:
            text = "Only skipped pairs are left; go back to them, or reload the page."
        if not total:
            text = "This table holds no hard pair that could be shown."
        return [cards.note(text), None, gr.Row(visible=False)]
    pair, score = review.pair(suspicion), ""
    if review.table.has_scores:
        score = value_text(float(review.table.scores[suspicion.row, suspicion.rank]), "score")
    shown = cards.pair_html(
        pair,
        (review.samples.caption(pair[0]), review.samples.caption(pair[1])),
        score=score,
        reason=suspicion.reason,
        decided=review.decided(),
        total=total,
    )
    return [shown, pair, gr.Row(visible=True)]


def _decided(review: Review) -> str:
    done, caption = review.decisions(), review.samples.caption
    rejected = [(row, caption(row)) for row in sorted(done.rejected)]
    kept = [((i, j), (caption(i), caption(j))) for i, j in sorted(done.accepted)]
    return cards.rejected_html(rejected, str(review.path)) + cards.kept_html(kept)
