"""Parts of the page that Gradio's own components are not made for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr


def html(*arguments: Any, **options: Any) -> gr.HTML:
    """Return a component of our own HTML, without Gradio's style for text."""
    return gr.HTML(*arguments, apply_default_css=False, **options)


def script(name: str) -> str:
    """Return a script of this folder; it runs once its component is on the page."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
