"""Blocks of similarities in low precision, as bfloat16 bits, from whatever the device multiplies fastest."""

from __future__ import annotations

import functools
import threading
import time

import numpy as np
import torch

from hardpairs.mining.bound import similarity_error

PROBE = 256
"""Rows of the product that is timed to choose a precision."""


class Products:
    """Similarities of two ranges of rows, in as many threads as call it.

    Args:
        rows: the unit rows of one or two modalities: (M, D) uint16 bfloat16 bits, or (M, D) float32.
        input_errors: for each modality, how far a multiplied row is from the exact one (``hardpairs.mining.bound``).
        block: most rows and columns of a block; the caller may lower it.
    """

    def __init__(
        self, rows: list[np.ndarray], input_errors: list[float], block: int, device: str = "cpu"
    ) -> None:
        self.rows = [as_tensor(modality).to(device) for modality in rows]
        self.errors = [
            similarity_error(modality.shape[1], error)
            for modality, error in zip(rows, input_errors, strict=True)
        ]
        self.block, self.device = block, device
        self._own = threading.local()

    def __call__(self, rows: slice | torch.Tensor, columns: slice) -> list[torch.Tensor]:
        """(m, n) bfloat16 for each modality; valid until the thread's next call."""
        sides = [(all_rows[rows], all_rows[columns]) for all_rows in self.rows]
        out, single = self._room(len(sides[0][0]) * len(sides[0][1]))
        return [
            _multiply(left, right, room, single)
            for (left, right), room in zip(sides, out, strict=True)
        ]

    def _room(self, size: int) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        """This thread's buffers."""
        own = self._own
        if getattr(own, "size", 0) < size:
            own.size, own.out, own.single = 0, None, None  # gone before others are made
            own.out = [
                torch.empty(size, dtype=torch.bfloat16, device=self.device) for _ in self.rows
            ]
            if any(rows.dtype == torch.float32 for rows in self.rows):
                own.single = torch.empty(size, dtype=torch.float32, device=self.device)
            own.size = size
        return own.out, own.single


def _multiply(
    left: torch.Tensor, right: torch.Tensor, room: torch.Tensor, single: torch.Tensor | None
) -> torch.Tensor:
    shape = len(left), len(right)
    out = room[: shape[0] * shape[1]].view(shape)
    if single is None:
        return torch.mm(left, right.T, out=out)
    return out.copy_(torch.mm(left, right.T, out=single[: shape[0] * shape[1]].view(shape)))


def as_tensor(rows: np.ndarray) -> torch.Tensor:
    """uint16 as the bfloat16 numbers whose bits they are, float32 as it is; shares memory."""
    tensor = torch.from_numpy(rows)
    return tensor.view(torch.bfloat16) if rows.dtype == np.uint16 else tensor


def bits(block: torch.Tensor) -> np.ndarray:
    """bfloat16 as uint16 bits; shares memory with a block on the CPU, copies one from elsewhere."""
    return block.view(torch.uint16).cpu().numpy()


@functools.cache
def choose_precision(width: int, device: str = "cpu") -> str:
    """ "bfloat16" where it is faster than float32 and adds up as ``hardpairs.mining.bound`` assumes, else "float32". Both give the same result."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(PROBE, width, generator=generator), dim=1).to(
        device
    )
    low = rows.to(torch.bfloat16)
    if not _adds_in_float32(low):
        return "float32"
    return "bfloat16" if _seconds(low) < 0.8 * _seconds(rows) else "float32"


def _seconds(rows: torch.Tensor) -> float:
    """Fastest of three products, after one that warms up."""
    times = []
    for _ in range(4):
        start = time.perf_counter()
        (rows @ rows.T)[0, 0].item()  # the number waits for an accelerator
        times.append(time.perf_counter() - start)
    return min(times[1:])


def _adds_in_float32(rows: torch.Tensor) -> bool:
    """Whether products of these rows keep the bound, and of rows whose small terms a bfloat16 sum would lose one by one."""
    drip = torch.full_like(rows, 2.0**-9)
    drip[:, 0] = 1
    for left in (rows, drip):
        right = torch.ones_like(rows) if left is drip else rows
        exact = left.double() @ right.double().T
        size = left.double().norm(dim=1)[:, None] * right.double().norm(dim=1)[None, :]
        allowed = exact.abs() * 2.0**-7 + size * similarity_error(rows.shape[1], 0.0)
        if not ((left @ right.T).double() - exact).abs().le(allowed).all():
            return False
    return True
