"""Embeds a dataset's images and captions with a CLIP model.

    python -m mining.embed --csv pairs.csv --model ViT-B-32 --pretrained epoch_5.pt --out EMB
    python -m mining.embed --shards 'data/{00000..00331}.tar' --model hardpairs-small --pretrained runs/base/checkpoints/epoch_1.pt --out EMB

Writes clip-retrieval's layout (img_emb/, text_emb/, metadata/) and a manifest. A finished folder made from the same data, model and
weights is kept as it is.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from formats.embeddings import open_embeddings, write_embeddings
from formats.errors import Exit, UserError, bad_input, mismatch, run_command, usage, whole_number
from formats.images import BadImage, decode
from formats.samples import Samples, open_samples
from towers.load import Encoder, load_encoder


@dataclass(frozen=True)
class Embedded:
    """Unit-length embeddings of the rows that could be used: ``image`` and ``text`` (M, D) float32, ``rows`` (M,) int64 ascending."""

    image: np.ndarray
    text: np.ndarray
    rows: np.ndarray
    rejected: dict[int, str]


class _Rows(Dataset):
    """(row number, transformed image or ``None``, reason) for each row that may be used."""

    def __init__(self, samples: Samples, rows: list[int], transform: Callable) -> None:
        self.samples, self.rows, self.transform = samples, rows, transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[int, torch.Tensor | None, str]:
        row = self.rows[i]
        try:
            return row, self.transform(decode(self.samples.image_bytes(row))), ""
        except BadImage as error:
            return row, None, str(error)
        except OSError:
            return row, None, "missing_file"


def _collate(batch: list[tuple[int, torch.Tensor | None, str]]) -> tuple[list[int], torch.Tensor | None, dict[int, str]]:
    """(kept rows, their images stacked, reasons of the others); stacked in the worker, since each tensor is passed on by itself."""
    good = [(row, image) for row, image, _ in batch if image is not None]
    images = torch.stack([image for _, image in good]) if good else None
    return [row for row, _ in good], images, {row: reason for row, _, reason in batch if reason}


def embed(samples: Samples, encoder: Encoder, *, batch_size: int = 256, workers: int = 2, device: str = "cpu") -> Embedded:
    """Embeds every usable row; a row whose image cannot be read is left out, with its reason in ``rejected``."""
    rejected = dict(samples.rejected)
    rows = [row for row in range(len(samples)) if row not in rejected]
    loader = DataLoader(_Rows(samples, rows, encoder.transform), batch_size=batch_size, num_workers=workers, collate_fn=_collate)
    images, texts, kept = [], [], []
    with tqdm(total=len(rows), unit="pair", desc="embed", file=sys.stderr, disable=None) as bar, torch.inference_mode():
        for good, pixels, reasons in loader:
            rejected.update(reasons)
            if pixels is not None:
                kept += good
                tokens = encoder.tokenizer([samples.caption(row) for row in good]).to(device)
                images.append(encoder.model.encode_image(pixels.to(device), normalize=True).float().cpu().numpy())
                texts.append(encoder.model.encode_text(tokens, normalize=True).float().cpu().numpy())
            bar.update(len(good) + len(reasons))
    if not kept:
        raise bad_input("no pair could be embedded", where=samples.source, why=f"rejected: {dict(Counter(rejected.values()))}")
    return Embedded(np.concatenate(images), np.concatenate(texts), np.array(kept, np.int64), dict(sorted(rejected.items())))


def embed_to_folder(samples: Samples, encoder: Encoder, out: str | Path, **options) -> None:
    """Embeds into a folder in clip-retrieval's layout; does nothing when it already holds just this.

    Raises:
        UserError: exit 4 when the folder holds embeddings of other data or of another model; exit 6 for non-finite ones.
    """
    recipe = {
        "kind": "embeddings",
        "dataset_fingerprint": samples.fingerprint,
        "num_samples": len(samples),
        "normalised": True,
        **encoder.description,
    }
    if _is_done(Path(out), recipe):
        print(f"already embedded: {out}", file=sys.stderr)
        return
    result = embed(samples, encoder, **options)
    bad = ~(np.isfinite(result.image).all(axis=1) & np.isfinite(result.text).all(axis=1))
    if bad.any():
        raise UserError(
            Exit.NON_FINITE,
            f"{bad.sum()} embeddings are not finite",
            where=f"rows {result.rows[bad][:10].tolist()}",
            fix="use other weights",
        )
    rows = result.rows.tolist()
    write_embeddings(
        out,
        image=result.image,
        text=result.text,
        rows=result.rows,
        captions=[samples.caption(row) for row in rows],
        keys=[samples.keys[row] for row in rows],
        groups=samples.groups[result.rows],
        manifest={
            **recipe,
            "dtype": "float32",
            "kept": len(rows),
            "rejected": {str(row): reason for row, reason in result.rejected.items()},
        },
    )
    print(
        f"{len(samples)} pairs = {len(rows)} embedded + {len(result.rejected)} rejected {dict(Counter(result.rejected.values()))}",
        file=sys.stderr,
    )


def _is_done(out: Path, recipe: dict) -> bool:
    if not (out / "manifest.json").is_file():
        return False
    there = open_embeddings(out).manifest
    differing = [key for key, value in recipe.items() if there.get(key) != value]
    if differing:
        raise mismatch(
            f"the folder holds other embeddings: {', '.join(differing)} differ{'s' if len(differing) == 1 else ''}",
            where=str(out),
            fix="choose another --out, or delete the folder",
        )
    return True


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mining.embed", description="Embed the images and captions of a dataset with a CLIP model."
    )
    data = parser.add_argument_group("data (one of)")
    data.add_argument("--shards", nargs="+", help="webdataset tars: brace text, glob, folder or list")
    data.add_argument("--csv", help="OpenCLIP CSV or TSV, or MiniCLIP captions.json")
    parser.add_argument("--csv-separator", help="default: found from the header")
    parser.add_argument("--csv-img-key", default="filepath")
    parser.add_argument("--csv-caption-key", default="title")
    parser.add_argument("--model", required=True, help="OpenCLIP model name")
    parser.add_argument("--pretrained", help="checkpoint file or OpenCLIP tag")
    parser.add_argument("--out", required=True)
    parser.add_argument("--batch-size", type=whole_number(1), default=256)
    parser.add_argument("--workers", type=whole_number(0), default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    if bool(args.shards) == bool(args.csv):
        raise usage("give either --shards or --csv")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    source = args.csv or (args.shards if len(args.shards) > 1 else args.shards[0])
    samples = open_samples(source, separator=args.csv_separator, image_key=args.csv_img_key, caption_key=args.csv_caption_key)
    encoder = load_encoder(args.model, args.pretrained, device=args.device)
    embed_to_folder(samples, encoder, args.out, batch_size=args.batch_size, workers=args.workers, device=args.device)
    return Exit.OK


if __name__ == "__main__":
    run_command(main)
