"""No exceptions from lint and types, and the modules without a test of their name."""

from __future__ import annotations

import re

from tests.helpers import ROOT

WITHOUT_A_TEST = {
    "cli/import_miniclip.py",  # wiring; tests/compat/test_miniclip_checkpoint.py runs it
    "cli/training_flags.py",  # wiring; tests/cli/test_inspect_batches.py runs it
    "mining/engine/candidates_triton.py",  # test_candidates.py compares it with plain torch
    "photos/components.py",  # wiring; tests/photos/test_page.py shows each component
    "training/hooks/build.py",  # wiring; tests/patches/test_hooks.py calls each hook
    "training/hooks/run.py",  # wiring; tests/patches/test_hooks.py calls each hook
    "training/hooks/task.py",  # imports OpenCLIP's main; tests/patches/test_main.py runs it
    "training/upstream.py",  # wiring; each test of the patched trainer imports it
}
"""Modules ``x/y.py`` without ``tests/x/test_y.py``, each with the reason."""

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
