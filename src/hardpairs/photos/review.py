"""Hard pairs to accept or to reject, one after the other.

The decisions are in the file of rejected rows, which mining and training read.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hardpairs.core.atomic import write_json
from hardpairs.core.errors import usage
from hardpairs.core.parse import parse_json
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.rejects import KIND, read_rejects
from hardpairs.data.samples import Samples
from hardpairs.mining.pair_statistics import Suspicion, suspicions
from hardpairs.pages.numbers import count_text, plural

MAX_PAIRS = 2000
Pair = tuple[int, int]
"""(row of the target, row of the hard pair)."""


@dataclass(frozen=True)
class Decisions:
    """The content of a file of decisions.

    Attributes:
        rejected: Rows.
        accepted: Pairs.
    """

    rejected: frozenset[int]
    accepted: frozenset[Pair]


class Review:
    """The pairs of a table, those that look like false negatives first.

    Args:
        table: The hard pairs.
        samples: The data set that they were mined on.
        path: The file of decisions; it is made by the first one.

    Raises:
        UserError: As ``decisions``. A wrong file is refused now, and not after an hour of clicks.
    """

    def __init__(self, table: HardPairTable, samples: Samples, path: Path) -> None:
        self.table, self.samples, self.path = table, samples, path
        self._lock = threading.Lock()
        self.pairs = self._queue()
        self.decisions()

    def _queue(self) -> list[Suspicion]:
        """Return the suspicious pairs, each pair of groups once: j often lists i as i lists j."""
        seen, queue = set(), []
        for suspicion in suspicions(self.table, self.samples):
            groups = frozenset(map(self.samples.group, self.pair(suspicion)))
            if groups not in seen:
                queue.append(suspicion)
            seen.add(groups)
        return queue[:MAX_PAIRS]

    def scope(self) -> str:
        """Return what ``pairs`` are: at most one per row, and not all rows of a large table."""
        listed = int(np.asarray(self.table.lengths).sum())
        pairs = plural(len(self.pairs), "most suspicious pair")
        return f"the {pairs}, at most one for each row, of {count_text(listed)} in the table"

    def pair(self, suspicion: Suspicion) -> Pair:
        """Return the rows of a pair."""
        return suspicion.row, int(self.table.indices[suspicion.row, suspicion.rank])

    def decisions(self) -> Decisions:
        """Return what the file holds now.

        Raises:
            UserError: As ``hardpairs.data.rejects.read_rejects``; exit 2 for a list that a person
                wrote, which a click would overwrite.
        """
        if not self.path.exists():
            return Decisions(frozenset(), frozenset())
        count, fingerprint = len(self.samples), self.samples.fingerprint
        rows = read_rejects(self.path, num_samples=count, fingerprint=fingerprint)
        text = self.path.read_text(encoding="utf-8-sig")
        if text.strip() and not text.lstrip().startswith("{"):
            start = json.dumps({"kind": KIND, "rows": sorted(rows)[:3]})
            start = start.replace("]", ", ...]" if len(rows) > 3 else "]")
            raise usage(
                "the page cannot write a list of row numbers, one a line",
                where=str(self.path),
                fix="give another file, NAME.json, as `reject`; to continue from these rows, write "
                f"into it: {start}",
            )
        accepted = []
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            accepted = [(int(i), int(j)) for i, j in parse_json(text).get("accepted", [])]
        return Decisions(frozenset(rows), frozenset(accepted))

    def next(self, skipped: set[Pair]) -> Suspicion | None:
        """Return the first pair that is neither decided nor in ``skipped``."""
        done = self.decisions()
        for suspicion in self.pairs:
            pair = self.pair(suspicion)
            if pair not in skipped and not _decided(pair, done):
                return suspicion
        return None

    def decided(self) -> int:
        """Return how many of the pairs are decided."""
        done = self.decisions()
        return sum(_decided(self.pair(suspicion), done) for suspicion in self.pairs)

    def accept(self, pair: Pair) -> None:
        """Write that a pair is a hard pair."""
        self._change(lambda done: Decisions(done.rejected, done.accepted | {pair}))

    def reject(self, row: int) -> None:
        """Write that a row is rejected."""
        self._change(lambda done: Decisions(done.rejected | {row}, done.accepted))

    def restore(self, row: int) -> None:
        """Take a rejection back."""
        self._change(lambda done: Decisions(done.rejected - {row}, done.accepted))

    def reopen(self, pair: Pair) -> None:
        """Take back that a pair is a hard pair."""
        self._change(lambda done: Decisions(done.rejected, done.accepted - {pair}))

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


@dataclass(frozen=True)
class Sitting:
    """The decisions of one visitor since the page was opened.

    Attributes:
        skipped: Pairs, the last one last.
        done: Rows that were rejected and pairs that were kept, the last one last.
    """

    skipped: tuple[Pair, ...] = ()
    done: tuple[int | Pair, ...] = ()

    def skip(self, pair: Pair) -> Sitting:
        """Return the sitting after a pair was skipped."""
        return replace(self, skipped=(*self.skipped, pair))

    def back(self) -> Sitting:
        """Return the sitting in which the last skipped pair is the next one again."""
        return replace(self, skipped=self.skipped[:-1])

    def keep(self, review: Review, pair: Pair) -> Sitting:
        """Keep a pair, and return the sitting after it."""
        review.accept(pair)
        return replace(self, done=(*self.done, pair))

    def reject(self, review: Review, row: int) -> Sitting:
        """Reject a row, and return the sitting after it."""
        review.reject(row)
        return replace(self, done=(*self.done, row))

    def undo(self, review: Review) -> Sitting:
        """Take the last decision back, and return the sitting before it."""
        if not self.done:
            return self
        last = self.done[-1]
        if isinstance(last, int):
            review.restore(last)
        else:
            review.reopen(last)
        return replace(self, done=self.done[:-1])


def _decided(pair: Pair, done: Decisions) -> bool:
    return pair in done.accepted or bool(done.rejected & set(pair))


def open_review(hard_pairs: Path, samples: Samples, reject: Path | None = None) -> Review:
    """Open a table of hard pairs for review.

    Args:
        hard_pairs: Folder of the table.
        samples: The data set that it was mined on.
        reject: The file of decisions; default: ``rejected.json`` beside the table.

    Raises:
        UserError: As ``open_tables`` and ``Review``.
    """
    from hardpairs.data.open_tables import open_tables

    (table,) = open_tables([hard_pairs], samples).values()
    return Review(table, samples, reject or hard_pairs.absolute().parent / "rejected.json")


@contextlib.contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    """Hold a lock on the file, which two pages may have open."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
