"""Contents of a data set, found by reading each of its images once."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from hardpairs.checking.captions import doubt_about, script_of
from hardpairs.checking.image_facts import ImageFacts, image_facts
from hardpairs.data.samples import Samples

EXAMPLES = 3
"""Rows that are named for each finding."""
_BLOCK = 256


@dataclass(frozen=True)
class Finding:
    """Rows that have something in common.

    Attributes:
        what: What it is.
        count: Number of rows.
        examples: The first of them: row number and place.
    """

    what: str
    count: int
    examples: list[str]


@dataclass(frozen=True)
class Survey:
    """Contents of a data set.

    Attributes:
        source: What was opened.
        fingerprint: The fingerprint of the data set.
        rows: Number of rows.
        usable: Rows that no stage leaves out.
        images: Different images, by path or by img2dataset's hash.
        contents: Different readable images by their bytes.
        captions: Different captions.
        labelled: Rows whose group the data says.
        groups: Different groups among these.
        shards: Number of shards.
        left_out: Rows that are left out, by reason.
        doubts: Captions that are probably no text about their image, and images of one color.
        duplicates: Rows that share an image or a caption with another one.
        formats: Number of readable images by format and mode.
        scripts: Number of captions by script.
        sides: Smallest, median and largest width and height of the readable images.
        words: Smallest, median and largest number of words of a caption.
    """

    source: str
    fingerprint: str
    rows: int
    usable: int
    images: int
    contents: int
    captions: int
    labelled: int
    groups: int
    shards: int
    left_out: list[Finding]
    doubts: list[Finding]
    duplicates: list[Finding]
    formats: dict[str, int]
    scripts: dict[str, int]
    sides: dict[str, list[int]]
    words: list[int]


@dataclass(frozen=True)
class Read:
    """A data set and what reading it gave.

    Attributes:
        samples: The data set.
        facts: What each different image is, by image id.
        rejected: Reason by row, those of unreadable images included.
    """

    samples: Samples
    facts: Mapping[int, ImageFacts]
    rejected: Mapping[int, str]

    def usable(self) -> list[int]:
        """Return the rows that no stage leaves out."""
        return [row for row in range(len(self.samples)) if row not in self.rejected]

    def content(self, row: int) -> bytes:
        """Return the SHA-256 of a row's encoded image."""
        return self.facts[int(self.samples.images[row])].digest

    def place(self, row: int) -> str:
        """Return a row's number and where its image is."""
        return f"row {row}: {self.samples.image_path(row)}"

    def finding(self, what: str, rows: Iterable[int]) -> Finding:
        """Return a finding about rows."""
        rows = sorted(rows)
        return Finding(what, len(rows), [self.place(row) for row in rows[:EXAMPLES]])


def read_data(samples: Samples, *, workers: int = 2) -> Read:
    """Read each different image of a data set once.

    Args:
        samples: The data set.
        workers: Threads that read and decode.
    """
    with_image = [row for row in range(len(samples)) if _has_image(samples, row)]
    ids, first = np.unique(samples.images[with_image], return_index=True)
    rows = [with_image[place] for place in first.tolist()]
    facts = dict(zip(ids.tolist(), _facts(samples, rows, workers), strict=True))
    rejected = dict(samples.rejected)
    for row in with_image:
        if row not in rejected and (reason := facts[int(samples.images[row])].reason):
            rejected[row] = reason
    return Read(samples, facts, rejected)


def _has_image(samples: Samples, row: int) -> bool:
    return samples.rejected.get(row) != "missing_image"


def _facts(samples: Samples, rows: list[int], workers: int) -> Iterator[ImageFacts]:
    bar = tqdm(total=len(rows), unit="image", desc="check", file=sys.stderr, disable=None)
    with bar, ThreadPoolExecutor(max(1, workers)) as pool:
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            yield from pool.map(lambda row: image_facts(lambda: samples.image_bytes(row)), block)
            bar.update(len(block))


def survey(read: Read) -> Survey:
    """Return what a data set holds.

    Args:
        read: What ``read_data`` returned.
    """
    samples, usable = read.samples, read.usable()
    readable = [facts for facts in read.facts.values() if not facts.reason]
    captions = {row: samples.caption(row) for row in usable}
    labels = samples.groups[samples.labelled]
    sizes = {"width": [f.width for f in readable], "height": [f.height for f in readable]}
    return Survey(
        source=samples.source,
        fingerprint=samples.fingerprint,
        rows=len(samples),
        usable=len(usable),
        images=len(np.unique(samples.images)),
        contents=len({facts.digest for facts in readable}),
        captions=len(set(captions.values())),
        labelled=int(samples.labelled.sum()),
        groups=len(np.unique(labels)),
        shards=len({shard for shard in samples.shards if shard}),
        left_out=_by_kind(read, read.rejected),
        doubts=_by_kind(read, _doubts(read, captions)),
        duplicates=list(_duplicates(read, captions)),
        formats=_counts(f"{facts.format} {facts.mode}" for facts in readable),
        scripts=_counts(map(script_of, captions.values())),
        sides={side: _spread(values) for side, values in sizes.items()},
        words=_spread([len(caption.split()) for caption in captions.values()]),
    )


def _doubts(read: Read, captions: Mapping[int, str]) -> dict[int, str]:
    images = read.samples.images
    doubts = {
        row: "an image of one color" for row in captions if read.facts[int(images[row])].is_plain
    }
    for row, caption in captions.items():
        if doubt := doubt_about(caption):
            doubts[row] = f"a caption that is {doubt}".replace("is with", "is text with")
    return doubts


def _by_kind(read: Read, kinds: Mapping[int, str]) -> list[Finding]:
    rows = defaultdict(list)
    for row, kind in kinds.items():
        rows[kind].append(row)
    return [read.finding(kind, rows[kind]) for kind in sorted(rows)]


def _duplicates(read: Read, captions: Mapping[int, str]) -> Iterator[Finding]:
    """Yield the rows that repeat an earlier one in some way."""
    samples = read.samples
    kinds: dict[str, list[tuple[Hashable, Hashable]]] = {
        "the image and the caption of an earlier row": [
            ((read.content(row), caption), None) for row, caption in captions.items()
        ],
        "the bytes of an earlier image, under another name": [
            (read.content(row), int(samples.images[row])) for row in captions
        ],
        "the caption of an earlier row, whose image is another": [
            (caption, read.content(row)) for row, caption in captions.items()
        ],
    }
    for what, values in kinds.items():
        earlier: dict[Hashable, Hashable] = {}
        rows = []
        for row, (value, other) in zip(captions, values, strict=True):
            if value not in earlier:
                earlier[value] = other
            elif other is None or earlier[value] != other:
                rows.append(row)
        if rows:
            yield read.finding(what, rows)


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _spread(values: list[int]) -> list[int]:
    if not values:
        return []
    return [min(values), int(np.median(values)), max(values)]


def as_json(found: Survey) -> dict[str, Any]:
    """Return a survey as a JSON object."""
    findings = ("left_out", "doubts", "duplicates")
    return {
        name: [vars(finding) for finding in value] if name in findings else value
        for name, value in vars(found).items()
    }
