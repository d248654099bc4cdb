"""Hard pairs to accept or to reject, one after the other; what is decided is in the file that mining and training read (--reject)."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardpairs.core.atomic import write_json
from hardpairs.core.errors import usage
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.rejects import KIND, read_rejects
from hardpairs.data.samples import Samples
from hardpairs.mining.pair_statistics import Suspicion, suspicions
from hardpairs.pages.numbers import count_text, plural

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
            pair = frozenset(
                (self.samples.group(suspicion.row), self.samples.group(self.partner(suspicion)))
            )
            if pair not in seen:
                queue.append(suspicion)
            seen.add(pair)
        return queue[:MAX_PAIRS]

    def scope(self) -> str:
        """What ``pairs`` are of: the queue holds at most one pair for each row, and of a large table not all rows (``suspicions``)."""
        listed = int(np.asarray(self.table.lengths).sum())
        return f"the {plural(len(self.pairs), 'most suspicious pair')}, at most one for each row, of {count_text(listed)} in the table"

    def partner(self, suspicion: Suspicion) -> int:
        return int(self.table.indices[suspicion.row, suspicion.place])

    def decisions(self) -> Decisions:
        """What the file says now.

        Raises:
            UserError: as ``hardpairs.data.rejects.read_rejects``; exit 2 for a person's own list, which a click would write over.
        """
        if not self.path.exists():
            return Decisions(frozenset(), frozenset())
        rows = read_rejects(
            self.path, num_samples=len(self.samples), fingerprint=self.samples.fingerprint
        )
        text = self.path.read_text(encoding="utf-8-sig")
        if text.strip() and not text.lstrip().startswith("{"):
            start = json.dumps({"kind": KIND, "rows": sorted(rows)[:3]}).replace(
                "]", ", ...]" if len(rows) > 3 else "]"
            )
            fix = (
                f"--reject another file, NAME.json; to go on from these rows write into it: {start}"
            )
            raise usage(
                "the page cannot write a list of row numbers, one a line",
                where=str(self.path),
                fix=fix,
            )
        accepted = []
        with contextlib.suppress(ValueError, TypeError):
            accepted = [(int(i), int(j)) for i, j in json.loads(text).get("accepted", [])]
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
