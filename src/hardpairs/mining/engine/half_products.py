"""Products of float16 rows on a device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

import torch

from hardpairs.mining.engine.device_rows import DeviceRows, Range, Sides
from hardpairs.mining.engine.error_bound import FLOAT16_UNDERFLOW, similarity_error


class HalfProducts:
    """Similarities of two ranges of rows in float16, added up in float32.

    Args:
        rows: Rows of one or two modalities.
        widths: D of each modality.
        block: Most rows and columns of a block, for which memory is allocated here.
        device: Where the products are computed.
        crossed: Images are multiplied with captions and captions with images, in one space.

    Attributes:
        sides: Rows and columns of the last block, (m, D) and (n, D) float16 for each modality.
    """

    sides: Sides

    def __init__(
        self,
        rows: DeviceRows,
        widths: Sequence[int],
        block: int,
        device: torch.device,
        crossed: bool = False,
    ) -> None:
        self.rows, self.block, self.crossed = rows, block, crossed
        largest = [max(rows.errors)] * 2 if crossed else rows.errors
        self.errors = [
            similarity_error(width, error) + FLOAT16_UNDERFLOW
            for width, error in zip(widths, largest, strict=True)
        ]
        self._out = [torch.empty(block * block, dtype=torch.float16, device=device) for _ in widths]

    def __call__(
        self, rows: slice | list[torch.Tensor], columns: slice, then: Iterable[Range] = ()
    ) -> list[torch.Tensor]:
        """Return (m, n) float16 for each modality, valid until the next call.

        Args:
            rows: A range of rows, or gathered ones.
            columns: A range of rows.
            then: Ranges that the next call will need.
        """
        others = columns.start, columns.stop
        own = (rows.start, rows.stop) if isinstance(rows, slice) else others
        left, right = self.rows.fetch(own, others, then)
        if not isinstance(rows, slice):
            left = rows
        self.sides = left, right
        if self.crossed:
            right = right[::-1]
        return [_multiply(*sides) for sides in zip(left, right, self._out, strict=True)]


def within_modalities(left: list[torch.Tensor], right: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return (m, n) float16 similarities within each modality, in memory of their own.

    Args:
        left: (m, D) float16 for each modality.
        right: (n, D) likewise.
    """
    return [
        _multiply(side, other, side.new_empty(len(side) * len(other)))
        for side, other in zip(left, right, strict=True)
    ]


def _multiply(left: torch.Tensor, right: torch.Tensor, buffer: torch.Tensor) -> torch.Tensor:
    out = buffer[: len(left) * len(right)].view(len(left), len(right))
    if left.is_cuda:
        with _sums_in_float32():
            return torch.mm(left, right.T, out=out)
    return out.copy_(left.float() @ right.float().T)


@contextlib.contextmanager
def _sums_in_float32() -> Iterator[None]:
    """Keep cuBLAS from adding parts of a product in float16, which the error bound excludes."""
    settings = torch.backends.cuda.matmul
    names = ("allow_fp16_accumulation", "allow_fp16_reduced_precision_reduction")
    before = [getattr(settings, name) for name in names]
    for name in names:
        setattr(settings, name, False)
    try:
        yield
    finally:
        for name, value in zip(names, before, strict=True):
            setattr(settings, name, value)
