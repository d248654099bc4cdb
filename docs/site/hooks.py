"""What the site adds to the Markdown pages: tables of components, and links into the repository.

MkDocs calls ``on_page_markdown`` for each page. A link that leaves ``docs/`` becomes a link to the
repository, after a check that the file exists, so that the pages read the same on a code host.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = os.environ.get("HARDPAIRS_REPOSITORY", "")
"""Where the repository can be browsed, such as ``https://host/owner/name/blob/main``."""
REGISTRIES = {
    "losses": ("hardpairs.losses", "LOSSES"),
    "batches": ("hardpairs.batches", "BATCHES"),
    "encoders": ("hardpairs.models.encoders", "ENCODERS"),
    "metrics": ("hardpairs.metrics", "METRICS"),
}
LOG = logging.getLogger("mkdocs.hooks.hardpairs")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return a page's Markdown with tables and links filled in."""
    markdown = re.sub(r"<!-- components: (\w+) -->", lambda m: components_table(m[1]), markdown)
    markdown = re.sub(r"<!-- include: (\S+) -->", lambda m: included(m[1]), markdown)
    folder = Path(page.file.abs_src_path).parent
    return re.sub(
        r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)#]+)(#[^)]*)?\)",
        lambda match: repository_link(match, folder),
        markdown,
    )


def included(name: str) -> str:
    """Return a Markdown file of the repository's root, with its links as seen from ``docs/``."""
    return (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")


def components_table(kind: str) -> str:
    """Return the components of a registry as Markdown: names, summaries, options with defaults."""
    module, name = REGISTRIES[kind]
    rows = ["| name | what it is | options and defaults |", "|---|---|---|"]
    for component in getattr(importlib.import_module(module), name).values():
        options = ", ".join(f"`{o.flag}` {o.default}" for o in component.options)
        summary = component.summary.replace("|", "\\|")
        rows.append(f"| `{component.name}` | {summary} | {options} |")
    return "\n".join(rows)


def repository_link(match: re.Match[str], folder: Path) -> str:
    """Return a link that leaves ``docs/`` as a link to the repository, or as text without one."""
    text, target = match[1], (folder / match[2]).resolve()
    if target.is_relative_to(ROOT / "docs"):
        return match[0]
    if not target.exists():
        LOG.warning("%s: no such file in the repository: %s", folder, match[2])
    if not REPOSITORY:
        return text
    return f"[{text}]({REPOSITORY}/{target.relative_to(ROOT)}{match[3] or ''})"
