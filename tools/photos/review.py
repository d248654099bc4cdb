"""Hard pairs to accept or to reject, one after the other; what is decided is in the file that mining and training read (--reject)."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from formats.atomic import write_json
from formats.hard_pairs import HardPairTable
from formats.rejects import KIND, read_rejects
from formats.samples import Samples
from tools.reporting.pair_statistics import Suspicion, suspicions

MAX_PAIRS = 2000
Pair = tuple[int, int]


@dataclass(frozen=True)
class Decisions:
    """``rejected`` rows, and ``accepted`` pairs (anchor, partner)."""

    rejected: frozenset[int]
    accepted: frozenset[Pair]


class Review:
    """The pairs of a table, the ones that look like false negatives first."""

    def __init__(self, table: HardPairTable, samples: Samples, path: Path) -> None:
        self.table, self.samples, self.path = table, samples, path
        self._lock = threading.Lock()
        self.pairs = self._queue()
        self.decisions()  # a file of other data is refused now, and not after an hour of clicks

    def _queue(self) -> list[Suspicion]:
        """Each pair of groups once: i's suspicious partner j often has i as its own."""
        seen, queue = set(), []
        for suspicion in suspicions(self.table, self.samples):
            pair = frozenset((self.samples.group(suspicion.row), self.samples.group(self.partner(suspicion))))
            if pair not in seen:
                queue.append(suspicion)
            seen.add(pair)
        return queue[:MAX_PAIRS]

    def partner(self, suspicion: Suspicion) -> int:
        return int(self.table.indices[suspicion.row, suspicion.place])

    def decisions(self) -> Decisions:
        """What the file says now.

        Raises:
            UserError: as ``formats.rejects.read_rejects``.
        """
        if not self.path.exists():
            return Decisions(frozenset(), frozenset())
        rows = read_rejects(self.path, num_samples=len(self.samples), fingerprint=self.samples.fingerprint)
        accepted = []
        with contextlib.suppress(ValueError, TypeError):
            accepted = [(int(i), int(j)) for i, j in json.loads(self.path.read_text(encoding="utf-8")).get("accepted", [])]
        return Decisions(frozenset(rows), frozenset(accepted))

    def next(self, skipped: set[Pair]) -> Suspicion | None:
        """The first pair that nobody has decided on."""
        done = self.decisions()
        for suspicion in self.pairs:
            pair = (suspicion.row, self.partner(suspicion))
            if pair not in done.accepted and pair not in skipped and not done.rejected & set(pair):
                return suspicion
        return None

    def looked_at(self) -> int:
        """Pairs of the queue that are decided."""
        done = self.decisions()
        pairs = [(suspicion.row, self.partner(suspicion)) for suspicion in self.pairs]
        return sum(pair in done.accepted or bool(done.rejected & set(pair)) for pair in pairs)

    def accept(self, pair: Pair) -> None:
        self._change(lambda done: Decisions(done.rejected, done.accepted | {pair}))

    def reject(self, row: int) -> None:
        self._change(lambda done: Decisions(done.rejected | {row}, done.accepted))

    def restore(self, row: int) -> None:
        """Takes a rejection back."""
        self._change(lambda done: Decisions(done.rejected - {row}, done.accepted))

    def _change(self, change: Callable[[Decisions], Decisions]) -> None:
        with self._lock, _file_lock(self.path):
            done = change(self.decisions())
            content = {
                "kind": KIND,
                "dataset_fingerprint": self.samples.fingerprint,
                "rows": sorted(done.rejected),
                "accepted": sorted(map(list, done.accepted)),
            }
            write_json(self.path, content)


@contextlib.contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    """Two pages may have the same file open."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
