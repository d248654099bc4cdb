"""Components: classes that a flag chooses by name, each in one file with its options beside it.

A component is declared in its own file:

    @register("constant")
    class Constant(Loss):
        \"\"\"A loss that is always the same number.\"\"\"

        @dataclass(frozen=True)
        class Config(Options):
            value: float = option(1.0, "the number", minimum=0)

``Registry`` finds the declarations of a package by reading its source, not by importing it: flags,
help and ``hardpairs list`` need names, defaults and sentences, and an import would load PyTorch for
them. The class itself is imported when somebody asks for it. Therefore everything inside
``register(...)`` and ``option(...)`` must be a literal. A test compares each declaration with the
imported class.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import difflib
import importlib
import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from hardpairs.core.errors import usage

Class = TypeVar("Class", bound=type)


def lazy_exports(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a package's ``__getattr__`` that imports a public name when it is first used.

    A list of components then needs no PyTorch.

    Args:
        package: Name of the package.
        modules: The module of the package that holds each public name.
    """

    def imported(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return imported


def register(name: str) -> Callable[[Class], Class]:
    """Mark a class as the component ``name``. The file that holds it is all that is needed."""

    def mark(component: Class) -> Class:
        component.name = name  # type: ignore[attr-defined]
        return component

    return mark


def option(
    default: Any,
    help: str,
    *,
    flag: str = "",
    metavar: str = "",
    needs: Mapping[str, tuple[Any, ...]] | None = None,
    choices: tuple[str, ...] | Callable[[], tuple[str, ...]] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """Declare a field of a component's ``Config``.

    Args:
        default: The value without the flag.
        help: One line: meaning, unit.
        flag: The flag's name, where it is not the field's name with hyphens.
        metavar: What stands for the value in the help, such as ``FILE``.
        needs: Fields of which one must have one of these values for the option to have an effect;
            no values: any that is true; ``None`` among them: the field is not given.
        choices: The allowed values, or a function that returns them, where components of others
            may add some.
        minimum: The smallest allowed value.
        maximum: The largest allowed value.
        above: A bound that the value must exceed.
        below: A bound that the value must stay under.
    """
    facts = {"help": help, "flag": flag, "metavar": metavar, "needs": needs, "choices": choices}
    bounds = {"minimum": minimum, "maximum": maximum, "above": above, "below": below}
    return dataclasses.field(default=default, metadata={**facts, **bounds})


@dataclass(frozen=True)
class Options:
    """Base of every ``Config``: checks the declared choices and bounds on construction."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, facts = getattr(self, field.name), field.metadata
            if value is None or not facts:
                continue
            choices = choices_of(facts)
            if choices and value not in choices:
                raise ValueError(f"`{field.name}` must be one of {choices}, not {value!r}")
            if isinstance(value, int | float) and not _within(value, facts):
                needed = range_text(facts) or "a finite number"
                raise ValueError(f"`{field.name}` must be {needed}, not {value}")


def choices_of(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the allowed values of an option; none: any."""
    choices: tuple[str, ...] | Callable[[], tuple[str, ...]] = facts["choices"]
    return choices() if callable(choices) else choices


def _within(value: float, facts: Mapping[str, Any]) -> bool:
    lowest, highest = facts["minimum"], facts["maximum"]
    return (
        (lowest is None or value >= lowest)
        and (highest is None or value <= highest)
        and (facts["above"] is None or value > facts["above"])
        and (facts["below"] is None or value < facts["below"])
        and math.isfinite(value)
    )


def range_text(facts: Mapping[str, Any]) -> str:
    """Return the bounds of an option in words, such as ``at least 0 and below 1``."""
    words = (
        ("at least", "minimum"),
        ("above", "above"),
        ("at most", "maximum"),
        ("below", "below"),
    )
    return " and ".join(f"{word} {facts[key]:g}" for word, key in words if facts[key] is not None)


@dataclass(frozen=True)
class OptionDeclaration:
    """An option as its source declares it.

    Attributes:
        field: Name of the ``Config`` field.
        kind: Its annotation, such as ``float`` or ``int | None``.
        default: The value without the flag.
        facts: The other arguments of ``option``, by name.
    """

    field: str
    kind: str
    default: Any
    facts: dict[str, Any]

    @property
    def flag(self) -> str:
        """The flag, such as ``--hard-topk``."""
        return self.facts["flag"] or "--" + self.field.replace("_", "-")


@dataclass(frozen=True)
class Declaration:
    """A component as its source declares it.

    Attributes:
        name: The name that the flag takes.
        summary: First line of the class's docstring.
        options: The fields of its ``Config``.
        module: Name of the module that holds the class.
        class_name: Name of the class.
        attributes: Its class attributes that are written out as literals, by name.
        bases: Names of its direct base classes.
    """

    name: str
    summary: str
    options: tuple[OptionDeclaration, ...]
    module: str
    class_name: str
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)
    bases: tuple[str, ...] = ()

    def load(self) -> Any:
        """Import the class."""
        return getattr(importlib.import_module(self.module), self.class_name)


class Registry(Mapping[str, Declaration]):
    """The components of one kind by name: those of a package, then those of installed entry points.

    Args:
        kind: What they are, in the singular, for messages.
        package: Name of the package whose files hold them.
        group: Entry point group under which other packages add theirs, ``NAME = module:Class``.
    """

    def __init__(self, kind: str, package: str, group: str) -> None:
        self.kind, self.package, self.group = kind, package, group

    @cached_property
    def declarations(self) -> dict[str, Declaration]:
        """All components, by name, sorted."""
        named: dict[str, Declaration] = {}
        for declaration in (*_of_package(self.package), *_of_entry_points(self.group)):
            if declaration.name in named:
                where = f"{named[declaration.name].module}, {declaration.module}"
                raise usage(f"two {self.kind} components are named {declaration.name}", where=where)
            named[declaration.name] = declaration
        return dict(sorted(named.items()))

    def __getitem__(self, name: str) -> Declaration:
        return self.declarations[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.declarations)

    def __len__(self) -> int:
        return len(self.declarations)

    def load(self, name: str) -> Any:
        """Import the class of a name.

        Raises:
            UserError: exit 2 for an unknown name, with the nearest known ones.
        """
        if name not in self.declarations:
            near = difflib.get_close_matches(name, self.declarations)
            names = ", ".join(near or self.declarations)
            raise usage(f"there is no {self.kind} {name!r}", fix=f"one of: {names}")
        return self.declarations[name].load()


def _of_package(package: str) -> Iterator[Declaration]:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob("*.py")):
            yield from _of_source(path, f"{package}.{path.stem}")


def _of_entry_points(group: str) -> Iterator[Declaration]:
    for entry in entry_points(group=group):
        yield _of_entry_point(entry)


def _of_entry_point(entry: EntryPoint) -> Declaration:
    spec = importlib.util.find_spec(entry.module)
    if spec is None or spec.origin is None:
        raise usage("an installed component is not there", where=entry.value, fix="reinstall it")
    for declaration in _of_source(Path(spec.origin), entry.module):
        if declaration.class_name == entry.attr:
            return dataclasses.replace(declaration, name=entry.name)
    raise usage(
        f"no class {entry.attr} with @register", where=spec.origin, fix="decorate the class"
    )


def _of_source(path: Path, module: str) -> Iterator[Declaration]:
    source = path.read_text(encoding="utf-8")
    if "@register(" not in source:
        return
    try:
        tree = ast.parse(source, str(path))
    except SyntaxError as error:
        where = f"{path}:{error.lineno}"
        raise usage(f"a component's file cannot be read: {error.msg}", where=where) from None
    for node in tree.body:
        name = _registered_name(node) if isinstance(node, ast.ClassDef) else None
        if isinstance(node, ast.ClassDef) and name is not None:
            summary = (ast.get_docstring(node) or "").split("\n")[0]
            config = _class_in(node.body, "Config")
            options = tuple(_options_of(config, tree, path)) if config else ()
            attributes = dict(_literals(node.body))
            bases = tuple(ast.unparse(base) for base in node.bases)
            yield Declaration(name, summary, options, module, node.name, attributes, bases)


def _registered_name(node: ast.ClassDef) -> str | None:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "register":
            return str(ast.literal_eval(decorator.args[0]))
    return None


def _literals(body: list[ast.stmt]) -> Iterator[tuple[str, Any]]:
    """Yield names and values of the assignments of literals in the body of a class."""
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            with contextlib.suppress(ValueError):
                yield node.targets[0].id, ast.literal_eval(node.value)


def _class_in(body: list[ast.stmt], name: str) -> ast.ClassDef | None:
    classes = (node for node in body if isinstance(node, ast.ClassDef) and node.name == name)
    return next(classes, None)


def _options_of(config: ast.ClassDef, tree: ast.Module, path: Path) -> Iterator[OptionDeclaration]:
    """Yield the options of a ``Config`` and of its bases, in the order of its fields."""
    own = {option.field: option for option in _own_options(config, path)}
    for base in reversed(config.bases):  # the order of a dataclass with several bases
        if isinstance(base, ast.Name) and base.id != "Options":
            for inherited in _options_of(*_find_class(base.id, tree, path)):
                yield own.pop(inherited.field, inherited)
    yield from own.values()


def _own_options(config: ast.ClassDef, path: Path) -> Iterator[OptionDeclaration]:
    for node in config.body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        if not isinstance(node.value, ast.Call):
            raise usage("a field of Config is not declared with option(...)", where=_at(path, node))
        try:
            default, help = (ast.literal_eval(argument) for argument in node.value.args)
            named = {str(word.arg): ast.literal_eval(word.value) for word in node.value.keywords}
        except ValueError:
            fix = "default and help first; write numbers and texts out"
            where = _at(path, node)
            raise usage("option(...) takes literals only", where=where, fix=fix) from None
        facts = dict(option(default, help, **named).metadata)
        yield OptionDeclaration(node.target.id, ast.unparse(node.annotation), default, facts)


def _find_class(name: str, tree: ast.Module, path: Path) -> tuple[ast.ClassDef, ast.Module, Path]:
    """Return a base class of a ``Config``, of the same file or imported, with its module."""
    if here := _class_in(tree.body, name):
        return here, tree, path
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            spec = importlib.util.find_spec(node.module or "")
            if spec and spec.origin:
                other = Path(spec.origin)
                return _find_class(name, ast.parse(other.read_text(encoding="utf-8")), other)
    raise usage(f"nothing says what {name} is", where=str(path), fix="import it from its module")


def _at(path: Path, node: ast.AST) -> str:
    return f"{path}:{getattr(node, 'lineno', 0)}"
