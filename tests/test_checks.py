"""No exceptions from lint and types, and the modules without a test of their name."""

from __future__ import annotations

import re

from tests.helpers import ROOT

WITHOUT_A_TEST = {
    "cli/completion.py",
    "cli/data_flags.py",
    "cli/embed.py",
    "cli/export.py",
    "cli/format_news.py",
    "cli/import_miniclip.py",
    "cli/jaccard.py",
    "cli/list_shards.py",
    "cli/quickstart.py",
    "cli/retrieve.py",
    "cli/train.py",
    "cli/training_flags.py",
    "comparing/page.py",
    "core/threads.py",
    "data/columns.py",
    "data/datasets.py",
    "data/downloads.py",
    "data/image_files.py",
    "data/open_tables.py",
    "data/stacked.py",
    "demo/quickstart.py",
    "embedding/parts.py",
    "embedding/stream.py",
    "losses/base.py",
    "losses/clip_ce.py",
    "losses/contrastive_squared.py",
    "losses/helip.py",
    "losses/negatives.py",
    "losses/sanw_bandpass.py",
    "losses/sanw_debias.py",
    "mining/engine/candidates_triton.py",
    "models/create.py",
    "models/encoders/openclip.py",
    "pages/template.py",
    "patching/companions.py",
    "patching/folders.py",
    "patching/tree.py",
    "photos/cards.py",
    "photos/demonstration.py",
    "photos/embedding_cache.py",
    "photos/encoding.py",
    "photos/guard.py",
    "photos/index.py",
    "photos/library.py",
    "photos/photo_files.py",
    "photos/review.py",
    "photos/scan.py",
    "photos/table.py",
    "photos/terminal.py",
    "training/heads.py",
    "training/hooks/build.py",
    "training/hooks/run.py",
    "training/upstream.py",
}
"""Modules ``x/y.py`` without ``tests/x/test_y.py``: wiring, or tested by the test of another name."""

PACKAGE = ROOT / "src/hardpairs"


def table(name: str) -> str:
    """Return a table of pyproject.toml as text; Python 3.10 has no reader of TOML."""
    text = (ROOT / "pyproject.toml").read_text()
    return text.partition(f"[{name}]\n")[2].partition("\n[")[0]


def test_no_file_of_the_package_is_an_exception_of_lint_or_types():
    ignored = re.findall(r'^"(.+)" = ', table("tool.ruff.lint.per-file-ignores"), re.M)
    assert ignored == ["{tests,benchmarks}/**"]
    assert "tool.mypy.overrides" not in (ROOT / "pyproject.toml").read_text()


def test_every_module_has_a_test_of_its_name():
    modules = (
        path.relative_to(PACKAGE)
        for path in PACKAGE.rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    )
    missing = {
        module.as_posix()
        for module in modules
        if not (ROOT / "tests" / module.parent / f"test_{module.name}").is_file()
    }
    assert missing <= WITHOUT_A_TEST
