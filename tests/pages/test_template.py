"""Pages from templates: everything is escaped, and nothing that is missing stays unseen."""

from __future__ import annotations

import jinja2
import pytest

from hardpairs.pages import template
from hardpairs.pages.template import render_template


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Put a template into the folder of pages."""
    monkeypatch.setattr(template, "FOLDER", tmp_path)
    (tmp_path / "page.css").write_text("p > b { color: red }")
    return (tmp_path / "x.j2").write_text


def test_values_are_escaped_and_the_style_is_not(write):
    write("<style>{{ style }}</style><p title='{{ text }}'>{{ text }}</p>")
    html = render_template("x.j2", text="<script>'\ud83d")
    text = "&lt;script&gt;&#39;?"
    assert html == f"<style>p > b {{ color: red }}</style><p title='{text}'>{text}</p>"


def test_numbers_as_words(write):
    write("{{ n|count }} {{ t|tone }} {{ s|seconds }}")
    assert render_template("x.j2", n=12345, t=1, s=90).startswith("12,345 c1 ")


def test_a_missing_value_is_an_error(write):
    write("{{ nothing }}")
    with pytest.raises(jinja2.UndefinedError):
        render_template("x.j2")
