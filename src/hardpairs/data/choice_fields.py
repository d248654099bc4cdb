"""The fields by which the items of choice benchmarks are known, and what is read from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from hardpairs.core.errors import bad_input

ONE_IMAGE = ("image_path", "image", "images", "filename", "image_file")
"""Names of the field of the image, where an item has one."""
BOX = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
"""ARO's fields of the part of the image that the captions are about, in pixels."""
Box: TypeAlias = tuple[float, float, float, float]
"""Left, upper, right, lower, in pixels."""


@dataclass(frozen=True)
class Layout:
    """The fields of a benchmark's items.

    Attributes:
        name: The benchmark.
        captions: Fields of the captions; that of the first image is first. A list is several.
        images: Fields of the images; one of ``ONE_IMAGE`` where empty.
        group: Field of what the score is averaged over, as the benchmark does.
        least: Number of items that a group needs to count in that average.
    """

    name: str
    captions: tuple[str, ...]
    images: tuple[str, ...] = ()
    group: str = ""
    least: int = 1

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields by which it is known, besides that of a single image."""
        return (*self.captions, *self.images, *([self.group] if self.group else []))


_ARO = ("true_caption", "false_caption")
_SHUFFLED = ("correct_caption", *(f"hard_text_{i}" for i in range(1, 5)))
LAYOUTS = (
    Layout("SugarCrepe", ("caption", "negative_caption")),
    Layout("VALSE", ("caption", "foil")),
    Layout("Winoground", ("caption_0", "caption_1"), ("image_0", "image_1")),
    Layout("ColorSwap", ("caption_1", "caption_2"), ("image_1", "image_2")),
    Layout("ARO VG-Relation", _ARO, group="relation_name"),
    Layout("ARO VG-Attribution", _ARO, group="attributes", least=25),
    Layout("ARO", _ARO),  # MTEB's copies, without the groups
    Layout("ARO order", _SHUFFLED),  # MTEB's copies
    Layout("ARO order", ("caption_options",)),
)
"""The first whose fields an item has is the one."""


def layout_of(item: Mapping[str, Any], where: str) -> Layout:
    """Return the layout of an item, by its fields.

    Raises:
        UserError: Exit 3, naming the field that is missing and those that were found.
    """
    for layout in LAYOUTS:
        if set(layout.fields) <= item.keys():
            return layout
    near = max(LAYOUTS, key=lambda layout: len(set(layout.fields) & item.keys()))
    lacking = [name for name in near.fields if name not in item]
    known = dict.fromkeys(f"{each.name} ({', '.join(each.fields)})" for each in LAYOUTS)
    raise bad_input(
        f"the field {lacking[0]} is missing; fields found: {', '.join(map(str, item)) or 'none'}",
        where=where,
        fix=f"the fields of one of these: {'; '.join(known)}",
    )


def check_fields(item: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    """Refuse (exit 3) an item without some fields.

    Args:
        item: The item.
        names: Fields that it needs; an empty one stands for the image's.
        where: File and item, for the error.
    """
    missing = [name or " or ".join(ONE_IMAGE) for name in names if name not in item]
    if missing:
        raise bad_input(
            f"the field {missing[0]} is missing; fields found: {', '.join(map(str, item))}",
            where=where,
        )


def captions_of(item: Mapping[str, Any], names: tuple[str, ...], where: str) -> list[str]:
    """Return an item's captions.

    Args:
        item: The item.
        names: Their fields; a list is several captions.
        where: File and item, for the error.

    Raises:
        UserError: Exit 3 for a caption that is none, or for one alone.
    """
    captions: list[Any] = []
    for name in names:
        captions += item[name] if isinstance(item[name], list) else [item[name]]
    if not all(isinstance(caption, str) and caption.strip() for caption in captions):
        raise bad_input("a caption is empty or no text", where=where)
    if len(captions) < 2:
        raise bad_input("one caption is no choice", where=where)
    return [caption.strip() for caption in captions]


def box_of(item: Mapping[str, Any], where: str) -> Box | None:
    """Return the part of the image that an item is about; ``None`` for all of it."""
    if not any(name in item for name in BOX):
        return None
    check_fields(item, BOX, where)
    values = [item[name] for name in BOX]
    if not all(isinstance(v, int | float) for v in values) or min(values[2:]) < 1:
        raise bad_input(f"{', '.join(BOX)} are no box: {values}", where=where)
    x, y, width, height = map(float, values)
    return x, y, x + width, y + height


def group_of(item: Mapping[str, Any], layout: Layout) -> str:
    """Return what the score of an item is averaged over; empty where the items do not say it."""
    value = item[layout.group] if layout.group else ""
    return "_".join(map(str, value)) if isinstance(value, list) else str(value)
