"""The policy for unreadable images: a few are left out, too many stop the work."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np

from hardpairs.core.errors import bad_input
from hardpairs.data.samples import Samples

LOG = logging.getLogger(__name__)

MAX_BAD_FRACTION = 0.01
HANDFUL = 3
"""Number of unreadable images that are left out of data of any size."""
NAMED = 10
"""Number of unreadable images that are named."""


LOOKED_AT = 1000
"""Number of rows whose images are looked for before the work starts."""


def check_images_are_there(samples: Samples, max_fraction: float) -> None:
    """Look for the files of some rows, spread over the data, and warn of those that are absent.

    A wrong folder is told at once. A few absent files are counted as the work meets them.

    Args:
        samples: The data set.
        max_fraction: Share of the images that may be unreadable.

    Raises:
        UserError: Exit 3 when more than half of the files are absent, and more than are allowed.
    """
    spread = range(0, len(samples), max(1, len(samples) // LOOKED_AT))
    looked_at = [row for row in spread if row not in samples.rejected]
    absent = [row for row in looked_at if samples.is_absent(row)]
    if not absent:
        return
    what = f"{len(absent)} of {len(looked_at)} images that were looked for are not there"
    paths = ", ".join(map(samples.image_path, absent[:HANDFUL]))
    if len(absent) > max(0.5, max_fraction) * len(looked_at):
        fix = "check the paths, or name the folder of the images: `image_root`"
        raise bad_input(what, where=paths, fix=fix)
    LOG.warning(f"{what}: {paths}.")


class UnreadableImages:
    """The unreadable images of a data set, each counted once, whatever number of rows shares it.

    In a run of several processes, each counts its own. Embedding adds those of all processes at its
    end, so that the outcome does not depend on their number.

    Args:
        samples: The data set.
        max_fraction: Share of the images that may be unreadable.
        log: Name the first ``NAMED`` images in the log as they are added.

    Attributes:
        reasons: Reasons by image id, in the order in which images were added.
    """

    def __init__(self, samples: Samples, max_fraction: float = 1.0, *, log: bool = False) -> None:
        self.samples, self.max_fraction, self.log = samples, max_fraction, log
        self.reasons: dict[int, str] = {}
        self._rows: list[int] = []

    def __len__(self) -> int:
        return len(self.reasons)

    def add(
        self,
        reasons: Mapping[int, str] | Iterable[tuple[int, str]],
        *,
        of: int | None = None,
        tolerated: int = HANDFUL,
    ) -> None:
        """Count the images of some rows.

        Args:
            reasons: Reasons by row.
            of: Number of images that the share is taken of; by default all usable ones of the data.
            tolerated: Number of unreadable images that are allowed whatever their share.

        Raises:
            UserError: exit 3 for more than ``max_fraction`` of the images and more than
                ``tolerated``.
        """
        for row, reason in dict(reasons).items():
            image = int(self.samples.images[row])
            if image not in self.reasons:
                self._rows.append(int(row))
                if self.log and len(self) < NAMED:
                    LOG.warning(f"Left out: {self.samples.image_path(row)} ({reason}).")
                self.reasons[image] = reason
        total = self._usable if of is None else of
        if len(self) > max(self.max_fraction * total, tolerated):
            raise bad_input(
                f"{len(self)} of {total} images cannot be read, "
                f"more than {self.max_fraction:.3g} of them",
                where=", ".join(map(self.samples.image_path, sorted(self._rows)[:NAMED])),
                why=", ".join(
                    f"{k} {n}" for k, n in sorted(Counter(self.reasons.values()).items())
                ),
                fix="check the data, or allow more: `max_bad_fraction`; finished work is kept",
            )

    @cached_property
    def _usable(self) -> int:
        usable = np.ones(len(self.samples), bool)
        usable[list(self.samples.rejected)] = False
        return len(np.unique(self.samples.images[usable]))
