"""New hard pairs, or new embeddings that batches follow from, out of the model as it is, before an epoch (``--remine-every``)."""

from __future__ import annotations

import argparse
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from open_clip import get_input_dtype
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

from hardpairs.core.errors import bad_input
from hardpairs.core.workers import answer_to_the_parent
from hardpairs.data.embeddings import write_embeddings
from hardpairs.data.hard_pairs import HardPairTable, write_table
from hardpairs.data.samples import Samples
from hardpairs.mining.search import Filters, Found, Ranks, Work, search
from hardpairs.training import upstream
from hardpairs.training.data import Pairs, pair_batch, remined_table


@torch.no_grad()
def embed(
    args: argparse.Namespace, model: nn.Module, rows: Dataset
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(places, (b, D) image rows, (b, D) text rows) float32, batch by batch, by the model as it is."""
    model = getattr(model, "module", model).eval()
    device, dtype = torch.device(args.device), get_input_dtype(args.precision)
    autocast = upstream.patched("precision").get_autocast(args.precision, device_type=device.type)
    options = {
        "batch_size": args.batch_size,
        "num_workers": args.workers,
        "worker_init_fn": answer_to_the_parent,
    }
    for places, images, texts, _ in DataLoader(rows, collate_fn=pair_batch, **options):
        if not len(places):
            continue
        with autocast():
            image = model.encode_image(images.to(device, dtype), normalize=True)
            text = model.encode_text(texts.to(device), normalize=True)
        yield places.numpy(), image.float().cpu().numpy(), text.float().cpu().numpy()


def remine(
    args: argparse.Namespace,
    model: nn.Module,
    samples: Samples,
    start: HardPairTable,
    transform: Callable,
    tokenizer: Callable,
    completed: int,
) -> None:
    """Embeds the data with ``model`` and writes the hard pairs that epoch ``completed`` (from 0) trains on, by the start table's options.

    A collective call: ranks share embedding and search, through files in the run folder. Killed, it leaves no table, and a run that is
    resumed makes it.
    """
    began = time.monotonic()
    folder, ranks = _cleared(args, completed), Ranks(args.rank, args.world_size)
    rows, image, text, unread = _embedded(
        args, model, samples, transform, tokenizer, folder.with_suffix(".work")
    )
    options = start.manifest.get("options", {})
    found = search(
        image,
        text,
        top_k=start.indices.shape[1],
        filters=Filters(
            **{name: options[name] for name in Filters.__dataclass_fields__ if name in options}
        ),
        groups=samples.positives[rows],
        exclude=unread,
        method=options.get("mining_method", "HPM"),
        approx=options.get("approx"),
        seed=options.get("seed", 0),
        device=args.device,
        work=Work(folder.with_suffix(".work") / "search", dict, writer=not args.rank),
        ranks=ranks,
    )
    if found is not None:
        _write(folder, found, rows, samples, start, completed)
        logging.info(
            f"New hard pairs: {found.kept} of the model after epoch {completed}, in {time.monotonic() - began:.0f} s."
        )
        shutil.rmtree(folder.with_suffix(".work"))
    ranks.barrier()


def embed_again(
    args: argparse.Namespace,
    model: nn.Module,
    samples: Samples,
    transform: Callable,
    tokenizer: Callable,
    completed: int,
) -> None:
    """Embeds the data with ``model`` into the folder that epoch ``completed`` (from 0) makes its batches from. Collective, like ``remine``."""
    began = time.monotonic()
    folder = _cleared(args, completed)
    rows, image, text, unread = _embedded(
        args, model, samples, transform, tokenizer, folder.with_suffix(".work")
    )
    if not args.rank:
        kept = np.delete(np.arange(len(rows)), unread)
        write_embeddings(
            folder,
            image=image[kept],
            text=text[kept],
            rows=rows[kept],
            captions=[samples.caption(row) for row in rows[kept]],
            keys=[samples.keys[row] for row in rows[kept]],
            groups=samples.groups[rows[kept]],
            images=samples.images[rows[kept]],
            manifest={
                "dataset_fingerprint": samples.fingerprint,
                "num_samples": len(samples),
                "epochs": completed,
            },
        )
        logging.info(
            f"The data was embedded by the model after epoch {completed}, in {time.monotonic() - began:.0f} s."
        )
        shutil.rmtree(folder.with_suffix(".work"))
    Ranks(args.rank, args.world_size).barrier()


def _cleared(args: argparse.Namespace, completed: int) -> Path:
    """The folder for an epoch, free for new files, with a ``.work`` folder beside it. Collective."""
    folder = remined_table(args, completed)
    assert folder is not None
    if not args.rank:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(folder.with_suffix(".work"), ignore_errors=True)
        folder.with_suffix(".work").mkdir(parents=True)
    Ranks(args.rank, args.world_size).barrier()
    return folder


def _embedded(
    args: argparse.Namespace,
    model: nn.Module,
    samples: Samples,
    transform: Callable,
    tokenizer: Callable,
    folder: Path,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(M,) usable rows, their (M, D) image and text embeddings, made by all ranks together and mapped, and the places of those that could not be
    read."""
    ranks = Ranks(args.rank, args.world_size)
    if ranks.world_size > 1:
        for buffer in (
            model.buffers()
        ):  # batch norms' statistics are each rank's own until the next forward pass
            dist.broadcast(buffer, 0)
    pairs = Pairs(samples, transform, tokenizer)
    first, last = ranks.share(0, len(pairs))
    sides: list[np.ndarray] = []
    for places, *features in embed(args, model, Subset(pairs, range(first, last))):
        if not sides:
            sides = [np.zeros((last - first, rows.shape[1]), np.float32) for rows in features]
        for side, rows in zip(sides, features, strict=True):
            side[places - first] = rows
    if not sides:
        raise bad_input(
            "no image of this rank's share could be read",
            where=args.train_data,
            fix="check the paths",
        )
    for name, side in zip(("image", "text"), sides, strict=True):
        np.save(folder / f"{name}_{ranks.rank}.npy", side)
    ranks.barrier()
    if not ranks.rank:
        for name in ("image", "text"):
            np.save(
                folder / f"{name}.npy",
                np.concatenate(
                    [np.load(folder / f"{name}_{rank}.npy") for rank in range(ranks.world_size)]
                ),
            )
    ranks.barrier()
    image, text = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("image", "text"))
    ranks.barrier()  # all have them open before one may take the folder away
    return np.array(pairs.rows), image, text, np.flatnonzero(~image.any(axis=1))


def _write(
    folder: Path,
    found: Found,
    rows: np.ndarray,
    samples: Samples,
    start: HardPairTable,
    completed: int,
) -> None:
    indices, scores = found.of_dataset(rows, len(samples))
    kept = {
        name: start.manifest[name] for name in ("options", "rejected") if name in start.manifest
    }
    write_table(
        folder,
        indices,
        scores,
        {
            **kept,
            "kind": "hard_pairs",
            "dataset_fingerprint": samples.fingerprint,
            "epochs": completed,
        },
    )
