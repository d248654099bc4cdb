"""List what flags choose by name: losses, batch makers, encoders, metrics and recipes.

hardpairs list                       # all of them
hardpairs list losses --options      # the losses, each with its flags and their defaults
"""

from __future__ import annotations

import argparse
import importlib
import textwrap
from collections.abc import Iterator

from hardpairs.core.components import (
    Declaration,
    OptionDeclaration,
    Registry,
    choices_of,
    range_text,
)
from hardpairs.core.errors import Exit
from hardpairs.core.parser import Parser

REGISTRIES = {
    "losses": ("hardpairs.losses", "LOSSES"),
    "batches": ("hardpairs.batches", "BATCHES"),
    "encoders": ("hardpairs.models.encoders", "ENCODERS"),
    "metrics": ("hardpairs.metrics", "METRICS"),
}
"""For each kind of component the module and the name of its registry."""
RECIPES = "recipes"
"""What ``hardpairs compare recipes`` compares; no components, but flags of the trainer."""


def main(argv: list[str] | None = None) -> int:
    """Print the components of one kind, or of all."""
    args = _parser().parse_args(argv)
    for kind in [args.kind] if args.kind else (*REGISTRIES, RECIPES):
        if not args.kind:
            print(f"{kind}:")
        if kind == RECIPES:
            print("\n".join(_recipe_lines()))
            continue
        for declaration in _registry(kind).values():
            print("\n".join(_lines(declaration, options=args.options)))
    return Exit.OK


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="hardpairs list",
        description="List losses, batch makers, encoders, metrics and recipes.",
    )
    kinds = (*REGISTRIES, RECIPES)
    parser.add_argument("kind", nargs="?", choices=kinds, help="the kind to list (all)")
    parser.add_argument("--options", action="store_true", help="show the flags of each, too")
    return parser


def _recipe_lines() -> Iterator[str]:
    """Yield each recipe's name and settings."""
    from hardpairs.recipes.recipe import RECIPES

    for name, settings in RECIPES.items():
        text = settings or "random batches and CLIP's loss: the reference"
        yield textwrap.fill(f"  {name:<28} {text}", 98, subsequent_indent=" " * 31)


def _registry(kind: str) -> Registry:
    module, name = REGISTRIES[kind]
    registry: Registry = getattr(importlib.import_module(module), name)
    return registry


def _lines(declaration: Declaration, *, options: bool) -> Iterator[str]:
    yield f"  {declaration.name:<20} {declaration.summary}"
    for option in declaration.options if options else ():
        text = f"{option.facts['help']} ({_values(option)})"
        yield f"      {option.flag}"
        yield textwrap.fill(text, 96, initial_indent=" " * 10, subsequent_indent=" " * 10)


def _values(option: OptionDeclaration) -> str:
    """Return the default of an option and the values it may take."""
    allowed = ", ".join(choices_of(option.facts)) or range_text(option.facts)
    return f"default {option.default}" + (f"; {allowed}" if allowed else "")
