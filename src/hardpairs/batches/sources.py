"""Open hard pairs and stored embeddings for batch makers, checked against the data."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hardpairs.batches.base import BatchContext
from hardpairs.core.components import Options, option
from hardpairs.core.errors import bad_input, mismatch, usage
from hardpairs.data.embeddings import Embeddings, open_embeddings
from hardpairs.data.hard_pairs import HardPairTable, open_hard_pairs
from hardpairs.data.manifest import check_same_dataset
from hardpairs.data.url_index import rows_by_old_number

if TYPE_CHECKING:
    from hardpairs.data.samples import Samples

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class HardPairSource(Options):
    """Options of batch makers that follow from hard pairs."""

    hard_pairs: str | None = option(
        None,
        "hard pairs: CSV, JSON, or a table's folder",
        flag="--hard-dict-dir",
        metavar="PATH",
    )
    url_index: str | None = option(
        None,
        "url_index of the older download that was mined",
        metavar="FOLDER",
    )

    def open(self, context: BatchContext) -> HardPairTable:
        """Open the hard pairs, checked against the data.

        Raises:
            UserError: exit 2 without any, exit 3 for empty lists alone, exit 4 for a table of other
                data or a damaged one.
        """
        if self.hard_pairs is None:
            raise usage("this batch maker needs `hard_pairs`", fix="hardpairs mine makes them")
        table = open_table(self.hard_pairs, context.samples, self.url_index, verify=context.verify)
        if not table.lengths.any():
            raise bad_input(
                "no row has a hard pair",
                where=self.hard_pairs,
                why="the batches would be random rows",
                fix="mine with filters that leave some, or train with random batches",
            )
        return table


@dataclass(frozen=True)
class EmbeddingSource(Options):
    """Options of batch makers that follow from stored embeddings."""

    embeddings: str | None = option(
        None,
        "stored embeddings (default: the run's own)",
        flag="--batching-embeddings",
        metavar="FOLDER",
    )


@dataclass(frozen=True)
class RankSource(HardPairSource):
    """Options of batch makers that use some ranks of each row's list of hard pairs."""

    hard_topk: int = option(50, "ranks of a list that are used", minimum=1)
    hard_skip: int = option(0, "first ranks left out, often false", minimum=0)


def open_table(
    path: str, samples: Samples, url_index: str | None = None, *, verify: bool = False
) -> HardPairTable:
    """Open hard pairs, checked against the data.

    Args:
        path: CSV, JSON, or the folder of the table.
        samples: The data.
        url_index: HELIP's index of an older download whose row numbers the hard pairs have.
        verify: Whether to check the checksums of the files.

    Raises:
        UserError: exit 2 when there are none, exit 4 for a table of other data or a damaged one.
    """
    renumber = rows_by_old_number(url_index, samples.urls) if url_index else None
    table = open_hard_pairs(path, num_samples=len(samples), verify=verify, renumber=renumber)
    if table.fingerprint is None:
        how = f" by {url_index}" if url_index else ""
        LOG.warning(
            f"{path} has no fingerprint: nothing shows that it belongs to {samples.source}. Its "
            f"row numbers are taken as they are{how}."
        )
    check_same_dataset(
        samples.fingerprint, table.fingerprint, ours_name=samples.source, theirs_name=path
    )
    return table


def open_stored_embeddings(
    folder: str, samples: Samples, verify: bool = False, *, allow_remote: bool | None = None
) -> Embeddings:
    """Open stored embeddings, checked against the data.

    Args:
        folder: The folder that embedding wrote.
        samples: The data.
        verify: Whether to check the checksums of the files.
        allow_remote: See ``open_embeddings``.

    Raises:
        UserError: exit 3 when there are none, exit 4 for those of other data or damaged ones.
    """
    embeddings = open_embeddings(folder, verify=verify, allow_remote=allow_remote)
    if embeddings.num_samples != len(samples):
        raise mismatch(
            f"the embeddings are of {embeddings.num_samples} rows, the data has {len(samples)}",
            where=folder,
            fix="embed this data",
        )
    check_same_dataset(
        samples.fingerprint, embeddings.fingerprint, ours_name=samples.source, theirs_name=folder
    )
    return embeddings


def identity(embeddings: Embeddings, folder: str) -> str:
    """Return what tells stored embeddings from others.

    It is the hash in their manifest or, where a foreign folder has none, the sizes and times of its
    text files.
    """
    if "sha256" in embeddings.manifest:
        return str(embeddings.manifest["sha256"])
    files = [(path, path.stat()) for path in sorted(Path(folder).glob("text_emb/*.npy"))]
    return repr([(path.name, stat.st_size, stat.st_mtime_ns) for path, stat in files])
