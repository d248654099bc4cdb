"""The exceptions from lint, types and mirrored tests: lists that may only shrink."""

from __future__ import annotations

import re

from tests.helpers import ROOT

LINT_EXCEPTIONS: set[str] = set()
"""Files with lint findings that pyproject.toml ignores."""
TYPE_EXCEPTIONS: set[str] = set()
"""Modules with mypy errors that pyproject.toml ignores."""
WITHOUT_A_TEST: set[str] = set()
"""Modules ``x/y.py`` without ``tests/x/test_y.py``: wiring, or tested by the test of another name."""

PACKAGE = ROOT / "src/hardpairs"


def table(name: str) -> str:
    """Return a table of pyproject.toml as text; Python 3.10 has no reader of TOML."""
    text = (ROOT / "pyproject.toml").read_text()
    return text.partition(f"[{name}]\n")[2].partition("\n[")[0]


def test_lint_exceptions_only_shrink():
    listed = set(re.findall(r'^"([^"*]+)" = ', table("tool.ruff.lint.per-file-ignores"), re.M))
    assert listed == LINT_EXCEPTIONS
    assert all((ROOT / name).is_file() for name in listed), "take deleted files off both lists"


def test_type_exceptions_only_shrink():
    listed = set(re.findall(r'^    "([\w.]+)",$', table("[tool.mypy.overrides]"), re.M))
    assert listed == TYPE_EXCEPTIONS
    for module in listed:
        path = ROOT / "src" / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), module


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
    assert missing == WITHOUT_A_TEST
