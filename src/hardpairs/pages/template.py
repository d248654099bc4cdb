"""Fill a template of this folder: all values are escaped, nothing is fetched from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from hardpairs.pages import numbers
from hardpairs.pages.charts import PAGE_COLORS

FOLDER = Path(__file__).parent


def render_template(name: str, **content: Any) -> str:
    """Return a page: a template of this folder with the style of all pages.

    Args:
        name: File name of the template.
        content: Values by the names that the template reads.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        value=numbers.value_text,
        difference=numbers.difference_text,
        p=numbers.p_phrase,
        count=numbers.count_text,
        seconds=numbers.seconds_text,
        tone=lambda number: f"c{number % PAGE_COLORS}",
    )
    style = Markup((FOLDER / "page.css").read_text(encoding="utf-8"))
    text = environment.get_template(name).render(style=style, **content)
    return text.encode("utf-8", "replace").decode()  # half a surrogate pair has no UTF-8
