"""Embeddings on disk, in clip-retrieval's layout: ``img_emb/img_emb_0.npy``, ``text_emb/text_emb_0.npy``, ``metadata/metadata_0.parquet``.

Rows of a folder are the kept rows of the dataset, in order; the metadata column ``row`` says which. A folder without that column
(clip-retrieval's own) counts as one embedding per dataset row.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from formats.atomic import atomic_open
from formats.errors import bad_input, mismatch
from formats.manifest import NAME, read_manifest, stable_ids, write_manifest
from formats.stacked import Stacked


@dataclass(frozen=True)
class Embeddings:
    """Image and text embeddings of the kept rows of a dataset.

    Attributes:
        image: (M, D_image) float16/32/64, memory-mapped; several parts are read like one array by slices and row numbers.
        text: (M, D_text).
        rows: (M,) int64, ascending dataset row numbers.
        num_samples: N, rows of the dataset, rejected ones included.
        manifest: model, preprocess, fingerprint... ; empty for foreign folders.
        positives: (M, 1 or 2) int64 ids; rows that share one in any column are known positives (same group, same caption).
    """

    image: np.ndarray | Stacked
    text: np.ndarray | Stacked
    rows: np.ndarray
    num_samples: int
    manifest: dict[str, Any]
    positives: np.ndarray | None = None

    @property
    def fingerprint(self) -> str | None:
        return self.manifest.get("dataset_fingerprint")


def write_embeddings(
    folder: str | os.PathLike[str],
    *,
    image: np.ndarray,
    text: np.ndarray,
    rows: np.ndarray,
    captions: list[str],
    keys: list[str],
    groups: np.ndarray,
    manifest: dict[str, Any],
) -> None:
    """Writes one part and the manifest. ``image`` and ``text`` have a row for each of ``rows``; captions and keys go with them."""
    folder = Path(folder)
    for name in ("img_emb", "text_emb", "metadata"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / NAME).unlink(missing_ok=True)
    parts = {"img_emb/img_emb_0.npy": image, "text_emb/text_emb_0.npy": text}
    for name, array in parts.items():
        with atomic_open(folder / name) as file:
            np.save(file, np.ascontiguousarray(array))
    table = pa.table({"image_path": keys, "caption": captions, "row": pa.array(rows, pa.int64()), "group": pa.array(groups, pa.int64())})
    with atomic_open(folder / "metadata/metadata_0.parquet") as file:
        pq.write_table(table, file)
    write_manifest(folder, manifest, [*parts, "metadata/metadata_0.parquet"])


def open_embeddings(folder: str | os.PathLike[str], *, verify: bool = False) -> Embeddings:
    """Opens a folder of ours or of clip-retrieval, parts in numeric order.

    Raises:
        UserError: exit 3 for missing or unreadable parts, exit 4 when rows or manifest do not fit together.
    """
    folder = Path(folder)
    manifest = read_manifest(folder, verify=verify) if (folder / NAME).is_file() else {}
    image, text = _read_parts(folder, "img_emb"), _read_parts(folder, "text_emb")
    metadata = _read_metadata(folder)
    rows = metadata["row"].to_numpy() if "row" in metadata else np.arange(len(next(iter(metadata.values()), image)))
    if not len(image) == len(text) == len(rows):
        raise mismatch(f"{len(image)} image rows, {len(text)} text rows, {len(rows)} metadata rows", where=str(folder), fix="embed again")
    num_samples = int(manifest.get("num_samples", len(image)))
    if len(rows) and (np.any(np.diff(rows) <= 0) or rows[0] < 0 or rows[-1] >= num_samples):
        raise mismatch("the row numbers are not ascending rows of the dataset", where=str(folder / "metadata"), fix="embed again")
    return Embeddings(image, text, rows, num_samples, manifest, _positives(metadata))


def load_array(path: str | os.PathLike[str]) -> np.ndarray:
    """Memory-maps a 2-d floating ``.npy``; never unpickles.

    Raises:
        UserError: exit 3 when it is not such a file.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise bad_input(f"not a readable .npy file: {error}", where=str(path)) from None
    if array.ndim != 2 or array.dtype.kind != "f":
        raise bad_input(f"embeddings must be a 2-d floating array, not {array.ndim}-d {array.dtype}", where=str(path))
    return array


def _read_parts(folder: Path, name: str) -> np.ndarray | Stacked:
    paths = sorted((folder / name).glob(f"{name}_*.npy"), key=_part_number)
    if not paths:
        raise bad_input(f"no {name}/{name}_*.npy", where=str(folder), fix="give a folder that mining.embed or clip-retrieval wrote")
    if [_part_number(path) for path in paths] != list(range(len(paths))):
        raise mismatch(f"parts of {name} are missing: found {', '.join(path.name for path in paths)}", where=str(folder))
    parts = [load_array(path) for path in paths]
    widths = {part.shape[1] for part in parts}
    if len(widths) > 1:
        raise mismatch(f"parts of {name} have different widths: {sorted(widths)}", where=str(folder))
    return parts[0] if len(parts) == 1 else Stacked(parts)


def _part_number(path: Path) -> int:
    return int(re.findall(r"\d+", path.stem)[-1])


def _read_metadata(folder: Path) -> dict[str, pa.ChunkedArray]:
    """Columns ``row``, ``group`` and ``caption`` of all parts, as far as every part has them."""
    paths = sorted((folder / "metadata").glob("metadata_*.parquet"), key=_part_number)
    if not paths:
        return {}
    shared = set.intersection(*(set(pq.read_schema(path).names) for path in paths)) & {"row", "group", "caption"}
    table = pa.concat_tables([pq.read_table(path, columns=sorted(shared)) for path in paths])
    return {name: table[name] for name in table.column_names}


def _positives(metadata: dict[str, pa.ChunkedArray]) -> np.ndarray | None:
    columns = []
    if "group" in metadata:
        columns.append(metadata["group"].to_numpy())
    if "caption" in metadata:
        columns.append(stable_ids(str(caption) for caption in metadata["caption"].to_pylist()))
    return np.stack(columns, axis=1) if columns else None
