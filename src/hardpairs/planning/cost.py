"""What a piece of work costs each of the processes that share it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """A prediction.

    Attributes:
        work: What is done, such as "mine, exact".
        processes: Processes that share it.
        stages: Seconds of the slowest process, by stage.
        memory: Most memory of a process, in bytes, pages of mapped files included.
        written: Bytes that all processes together write to the disk.
        kept: Those of them that are the result.
        read: Bytes that all processes together read from the disk.
        network: Bytes that each process sends.
        fits: The memory is what one process may take.
    """

    work: str
    processes: int
    stages: dict[str, float]
    memory: int
    written: int
    kept: int
    read: int
    network: int
    fits: bool = True

    @property
    def seconds(self) -> float:
        """Return the time of all stages."""
        return sum(self.stages.values())
