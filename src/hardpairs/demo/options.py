"""The options of demonstration data."""

from __future__ import annotations

from dataclasses import dataclass

from hardpairs.core.errors import usage


@dataclass(frozen=True)
class DemoOptions:
    """The options of demonstration data; the same options give the same bytes.

    Attributes:
        kind: ``emoji`` or ``scenes``.
        pairs: Rows of the train table, without its broken entries.
        views: Train photographs per drawing.
        seed: Seed of drawings, scenes and photographs.
        second_vendor: A folder of drawings by another vendor; ``None`` without one.
        layout: ``pairs``, tables of texts and URLs; ``classes``, class folders; or ``captions``, a
            small captioned collection of other drawings.
    """

    kind: str
    pairs: int
    views: int
    seed: int
    second_vendor: str | None = None
    layout: str = "pairs"

    def __post_init__(self) -> None:
        for name in ("pairs", "views"):
            if getattr(self, name) < 1:
                raise usage(
                    f"`{name}` {getattr(self, name)} makes no images",
                    fix=f"give a number from 1 on for `{name}`",
                )
        if self.seed < 0:
            raise usage(f"`seed` {self.seed} is negative", fix="give a number from 0 on")
        if self.second_vendor and self.kind != "emoji":
            raise usage(
                "`second_vendor` has drawings of emoji",
                where=f"`kind` {self.kind}",
                fix="leave one of the two out",
            )
