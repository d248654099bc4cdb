"""Components: their source says what the imported class is, and options keep to their bounds."""

from __future__ import annotations

import importlib
import sys
import textwrap
from dataclasses import dataclass, fields

import pytest

from hardpairs.batches import BATCHES
from hardpairs.core.components import Options, Registry, option, range_text
from hardpairs.core.errors import Exit, UserError
from hardpairs.losses import LOSSES
from hardpairs.metrics import METRICS
from hardpairs.models.encoders import ENCODERS

SOURCE = '''
import a_module_that_is_not_installed
from dataclasses import dataclass, fields
from hardpairs.core.components import Options, option, register

@register("shifted")
class Shifted:
    """Shift a value.

    More of it.
    """

    units = ("meters", "feet")
    scale = len(units)

    @dataclass(frozen=True)
    class Config(Options):
        by: float = option(0.5, "how far", flag="--shift-by", minimum=0, below=2)
        kind: str = option("up", "where to", choices=("up", "down"))
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "some_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "shifted.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "some_package", raising=False)
    importlib.invalidate_caches()
    return folder


def test_a_file_that_is_not_python_is_named(package):
    (package / "broken.py").write_text("@register(\n")
    with pytest.raises(UserError, match="a component's file cannot be read") as error:
        list(Registry("shift", "some_package", "none"))
    assert error.value.code == 2 and f"{package / 'broken.py'}:1" in error.value.text()


def test_declarations_are_read_without_an_import(package):
    """The module imports what is not installed, and is not imported."""
    registry = Registry("shift", "some_package", "none")
    assert list(registry) == ["shifted"]
    declared = registry["shifted"]
    assert declared.summary == "Shift a value."
    assert [(o.flag, o.kind, o.default) for o in declared.options] == [
        ("--shift-by", "float", 0.5),
        ("--kind", "str", "up"),
    ]
    assert declared.options[1].facts["choices"] == ("up", "down")
    assert declared.attributes == {"units": ("meters", "feet")}  # literals alone


def test_options_of_a_base_come_first(package):
    (package / "more.py").write_text(
        textwrap.dedent('''
        from some_package.shifted import Base
        @register("more")
        class More:
            """More."""
            class Config(Base):
                far: bool = option(False, "further")
        ''')
    )
    (package / "shifted.py").write_text(
        SOURCE + "\nclass Base(Options):\n    near: int = option(1, 'x')\n"
    )
    (package / "shifted.py").write_text(
        (package / "shifted.py").read_text().replace("import a_module_that_is_not_installed\n", "")
    )
    declared = Registry("shift", "some_package", "none")["more"]
    assert [o.field for o in declared.options] == ["near", "far"]


def test_what_is_no_literal_is_refused(package):
    (package / "shifted.py").write_text(SOURCE.replace("0.5,", "1 / 2,"))
    with pytest.raises(UserError, match="literals") as caught:
        list(Registry("shift", "some_package", "none"))
    assert caught.value.code == Exit.USAGE and "shifted.py:" in caught.value.where


def test_an_unknown_name_gets_the_nearest_ones(package):
    with pytest.raises(UserError, match="no shift 'shiftd'") as caught:
        Registry("shift", "some_package", "none").load("shiftd")
    assert caught.value.fix == "one of: shifted"


def test_options_keep_to_their_bounds():
    @dataclass(frozen=True)
    class Config(Options):
        share: float = option(0.5, "a share", minimum=0, maximum=1)
        count: int | None = option(None, "a count", above=0)
        kind: str = option("a", "a kind", choices=("a", "b"))

    assert Config().count is None and Config(count=1).share == 0.5
    for wrong in ({"share": 1.5}, {"share": float("nan")}, {"count": 0}, {"kind": "c"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Config(**wrong)
    assert range_text(Config.__dataclass_fields__["share"].metadata) == "at least 0 and at most 1"


@pytest.mark.parametrize(
    "declared",
    [
        pytest.param(declared, id=f"{registry.kind} {name}")
        for registry in (LOSSES, BATCHES, ENCODERS, METRICS)
        for name, declared in registry.items()
    ],
)
def test_each_declaration_is_the_imported_class(declared):
    component = declared.load()
    imported = [(f.name, f.default, dict(f.metadata)) for f in fields(component.Config)]
    assert component.name == declared.name
    assert imported == [(o.field, o.default, o.facts) for o in declared.options]
