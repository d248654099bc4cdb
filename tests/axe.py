"""axe-core in the browser of the tests: what a page has against WCAG 2.2 AA."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.browser import Browser

STILL = """
new Promise(done => {
    const style = document.createElement('style');
    style.textContent = '*, *::before, *::after { transition: none !important; animation: none !important }';
    document.head.append(style);
    requestAnimationFrame(() => requestAnimationFrame(() => done(true)));
})
"""
"""Ends all fading, in which colors have less contrast than they are meant to have."""
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def _script() -> Path | None:
    """The script as a package for Python brings it; its code is not run."""
    package = importlib.util.find_spec("axe_playwright_python")
    folders = (package and package.submodule_search_locations) or []
    return next((path for path in (Path(f, "axe.min.js") for f in folders) if path.is_file()), None)


SCRIPT = _script()
needs_axe = pytest.mark.skipif(
    SCRIPT is None, reason="needs axe-core: pip install --no-deps axe-playwright-python"
)


def axe_faults(browser: Browser) -> list[str]:
    """Each fault of the page that is open: the rule, and the first elements."""
    assert SCRIPT is not None
    browser.run(SCRIPT.read_text(encoding="utf-8") + "; true")
    browser.run(STILL)
    found = browser.run(
        f"axe.run(document, {{runOnly: {TAGS}, resultTypes: ['violations']}})"
        ".then(result => result.violations.map(fault => [fault.id, fault.help, "
        "fault.nodes.slice(0, 3).map(node => node.html.slice(0, 160) + ' ' + "
        "(node.any[0]?.message ?? ''))]))"
    )
    return [f"{rule}: {text}: {nodes}" for rule, text, nodes in found]
