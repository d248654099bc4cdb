"""Hard pairs, or embeddings that batches follow from, made anew by the model during a run."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import Subset

from hardpairs.batches import BatchInfo, open_stored_embeddings
from hardpairs.core.atomic import make_folder
from hardpairs.core.errors import bad_input
from hardpairs.core.progress import Progress
from hardpairs.core.ranks import Ranks
from hardpairs.core.vectors import unit_rows
from hardpairs.data.embeddings import write_embeddings
from hardpairs.data.hard_pairs import HardPairTable, write_table
from hardpairs.data.samples import Samples
from hardpairs.losses.memory import MemoryBatch, in_batches
from hardpairs.mining.api import Execution, search
from hardpairs.mining.options import MiningOptions
from hardpairs.mining.result import DatasetRows
from hardpairs.training.preemption import REQUESTS
from hardpairs.training.validation_data import PairDataset, pair_loader


@dataclass(frozen=True)
class Embedded:
    """The usable rows of the data and their embeddings, mapped by all ranks.

    Attributes:
        rows: (M,) row numbers.
        image: (M, D) float32, zero for unreadable images.
        text: (M, D) float32.
        unreadable: Positions in ``rows`` whose images are unreadable.
    """

    rows: np.ndarray
    image: np.ndarray
    text: np.ndarray
    unreadable: np.ndarray


@dataclass(frozen=True)
class Reminer:
    """Make hard pairs or embeddings anew by the model of a running training.

    The methods are collective calls: ranks share the work through files in a folder of the run. A
    killed run leaves no finished folder; the resumed run makes it.

    Attributes:
        samples: The training data.
        transform: Called with each image; returns a tensor.
        tokenizer: Called with a list of captions; returns a tensor.
        ranks: This process among those of the run.
        batch_size: Rows that are embedded at once.
        workers: Worker processes of the DataLoader.
        device: Device of the model.
        input_dtype: Dtype of the images; ``None``: float32.
        autocast: Returns the context in which the model runs.
    """

    samples: Samples
    transform: Callable[[Any], torch.Tensor]
    tokenizer: Callable[[list[str]], torch.Tensor]
    ranks: Ranks
    batch_size: int
    workers: int
    device: str
    input_dtype: torch.dtype | None
    autocast: Callable[[], AbstractContextManager[Any]]

    def mine(self, model: nn.Module, start: HardPairTable, folder: Path, epoch: int) -> None:
        """Write the hard pairs that an epoch trains on, by the options of the first table.

        Args:
            model: The model; it is left in evaluation mode.
            start: The first table.
            folder: Where the new table is written.
            epoch: From 0; the number of completed epochs.
        """
        began = time.monotonic()
        with self._work_folder(folder) as work:
            embedded = self._embed(model, work)
            stored = MiningOptions.from_manifest(start.manifest.get("options", {}))
            progress = Progress(work / "search", {}, owner=not self.ranks.rank)
            result = search(
                embedded.image,
                embedded.text,
                replace(stored, top_k=start.indices.shape[1]),
                groups=self.samples.positives[embedded.rows],
                exclude=embedded.unreadable,
                rows=DatasetRows(embedded.rows, len(self.samples)),
                execution=Execution(self.device, progress=progress, ranks=self.ranks),
            )
            if result is None:
                return
            kept = {name: start.manifest[name] for name in KEPT if name in start.manifest}
            manifest = {**kept, "kind": "hard_pairs", **self._origin(epoch)}
            write_table(folder, result.indices, result.scores, manifest)
        logging.info(
            f"New hard pairs: {result.kept} of the model after epoch {epoch}, in "
            f"{time.monotonic() - began:.0f} s."
        )

    def embed(self, model: nn.Module, folder: Path, epoch: int) -> None:
        """Write the embeddings that an epoch makes its batches from.

        Args:
            model: The model; it is left in evaluation mode.
            folder: Where the embeddings are written.
            epoch: From 0; the number of completed epochs.
        """
        began = time.monotonic()
        with self._work_folder(folder) as work:
            embedded = self._embed(model, work)
            if self.ranks.rank:
                return
            kept = np.delete(np.arange(len(embedded.rows)), embedded.unreadable)
            rows, samples = embedded.rows[kept], self.samples
            write_embeddings(
                folder,
                image=embedded.image[kept],
                text=embedded.text[kept],
                rows=rows,
                captions=[samples.caption(row) for row in rows],
                keys=[samples.names[row] for row in rows],
                groups=samples.groups[rows],
                images=samples.images[rows],
                manifest={"num_samples": len(samples), **self._origin(epoch)},
            )
        logging.info(
            f"The data was embedded by the model after epoch {epoch}, in "
            f"{time.monotonic() - began:.0f} s."
        )

    def rows_of(self, folder: Path) -> list[MemoryBatch]:
        """Return the embeddings of a folder as a loss holds them, on this rank's device."""
        embeddings = open_stored_embeddings(str(folder), self.samples)
        rows = np.array(embeddings.rows)
        sides = (torch.from_numpy(unit_rows(s[:])) for s in (embeddings.image, embeddings.text))
        image, text = (side.to(self.device) for side in sides)
        info = BatchInfo(rows=rows, group_ids=self.samples.positives[rows]).as_tensors()
        return in_batches(image, text, info.to(self.device))

    def _origin(self, epoch: int) -> dict[str, Any]:
        return {"dataset_fingerprint": self.samples.fingerprint, "epochs": epoch}

    @contextmanager
    def _work_folder(self, folder: Path) -> Iterator[Path]:
        """Remove what is at ``folder``, and give a folder beside it that all ranks use."""
        work = folder.with_suffix(".work")
        if not self.ranks.rank:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(work, ignore_errors=True)
            make_folder(work)
        self.ranks.barrier()
        yield work
        if not self.ranks.rank:
            shutil.rmtree(work)
        self.ranks.barrier()

    def _embed(self, model: nn.Module, folder: Path) -> Embedded:
        """Embed the usable rows, all ranks together."""
        if self.ranks.world_size > 1:
            # Statistics of batch norms are each rank's own until the next forward pass.
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)
        pairs = PairDataset(self.samples, self.transform, self.tokenizer)
        first, last = self.ranks.share(0, len(pairs))
        sides: list[np.ndarray] = []
        for positions, *features in self._features(model, Subset(pairs, range(first, last))):
            if not sides:
                sides = [np.zeros((last - first, rows.shape[1]), np.float32) for rows in features]
            for side, rows in zip(sides, features, strict=True):
                side[positions - first] = rows
        if not sides:
            raise bad_input(
                "no image of this rank's share is readable",
                where=self.samples.source,
                fix="check the paths",
            )
        image, text = (
            self._joined(side, folder, name)
            for side, name in zip(sides, ("image", "text"), strict=True)
        )
        self.ranks.barrier()  # all have mapped the files before one removes the folder
        return Embedded(np.array(pairs.rows), image, text, np.flatnonzero(~image.any(axis=1)))

    def _joined(self, share: np.ndarray, folder: Path, name: str) -> np.ndarray:
        """Join the ranks' shares of an array through files, and map it."""
        np.save(folder / f"{name}_{self.ranks.rank}.npy", share)
        self.ranks.barrier()
        if not self.ranks.rank:
            paths = [folder / f"{name}_{rank}.npy" for rank in range(self.ranks.world_size)]
            np.save(folder / f"{name}.npy", np.concatenate([np.load(path) for path in paths]))
        self.ranks.barrier()
        return np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r"))

    @torch.no_grad()
    def _features(
        self, model: nn.Module, pairs: Subset[Any]
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield positions, image features and text features, (b, D) float32, of the batches."""
        encoder: Any = getattr(model, "module", model).eval()
        for positions, images, texts, _ in pair_loader(pairs, self.batch_size, self.workers):
            REQUESTS.check()
            if not len(positions):
                continue
            with self.autocast():
                image = encoder.encode_image(
                    images.to(self.device, self.input_dtype), normalize=True
                )
                text = encoder.encode_text(texts.to(self.device), normalize=True)
            yield positions.numpy(), image.float().cpu().numpy(), text.float().cpu().numpy()


KEPT = ("options", "rejected")
"""Entries that a new table's manifest takes over from the first one."""
