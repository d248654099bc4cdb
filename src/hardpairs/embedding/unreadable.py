"""Pictures that cannot be read: a few are left out; too many are no longer a few bad files, but wrong data."""

from __future__ import annotations

from collections import Counter

from hardpairs.core.errors import bad_input
from hardpairs.data.samples import Samples

MAX_BAD_FRACTION = 0.01
HANDFUL = 3
"""So many are left out of data of any size."""


class Unreadable:
    """Reasons by row of pictures that could not be read, at most ``max_fraction`` of those that were to be read, or a handful.

    Each rank counts its own; who adds the rest of them at the end decides by all, so that neither order nor number of ranks matters.
    """

    def __init__(self, samples: Samples, max_fraction: float) -> None:
        self.samples, self.max_fraction = samples, max_fraction
        self.reasons: dict[int, str] = {}

    def add(self, reasons: dict[int, str]) -> None:
        """Counts these rows, too.

        Raises:
            UserError: exit 3 when there are too many, whatever is still to come.
        """
        self.reasons.update(reasons)
        to_read = len(self.samples) - len(self.samples.rejected)
        if len(self.reasons) > max(self.max_fraction * to_read, HANDFUL):
            raise bad_input(
                f"{len(self.reasons)} of {to_read} pictures cannot be read, more than {self.max_fraction:.3g} of them",
                where=", ".join(self.samples.image_place(row) for row in sorted(self.reasons)[:3]),
                why=", ".join(
                    f"{reason} {count}"
                    for reason, count in sorted(Counter(self.reasons.values()).items())
                ),
                fix="check the data, or allow more: python -m mining.embed --max-bad-fraction; what is embedded is kept for it",
            )
