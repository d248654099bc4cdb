"""Manifests: what a stage says of its output, and the fingerprint of a data set.

A manifest holds the options, what was read, and a hash of every file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from upath import UPath

from hardpairs.core.atomic import json_text, write_json
from hardpairs.core.errors import bad_input, mismatch
from hardpairs.core.parse import parse_json
from hardpairs.core.remote import FilePath, file_path, is_file, open_in_order, size_of

NAME = "manifest.json"


def sha256_file(path: str | os.PathLike[str] | UPath) -> str:
    """Return the hex sha256 of a file, on disk or behind a URL."""
    digest = hashlib.sha256()  # Python 3.10 has no hashlib.file_digest
    with open_in_order(file_path(path)) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def dataset_fingerprint(rows: Iterable[tuple[str, str, str]]) -> str:
    """Return the identity of a data set: hex sha256 of its ordered (shard, key, caption) list.

    Each field is preceded by its length, so that no two lists run together to the same bytes.
    """
    digest = hashlib.sha256()
    for row in rows:
        for field in row:
            data = field.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
    return digest.hexdigest()


def stable_id(text: str) -> int:
    """Return a 63-bit id of a text (blake2b), the same on every machine and rank."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def stable_ids(texts: Iterable[str]) -> np.ndarray:
    """Return the ``stable_id`` of each text, (N,) int64."""
    return np.fromiter((stable_id(text) for text in texts), dtype=np.int64)


def write_manifest(
    folder: str | os.PathLike[str] | UPath, content: dict[str, Any], files: Iterable[str] = ()
) -> dict[str, Any]:
    """Write ``folder/manifest.json``, with sizes and hashes; the last file that a stage writes.

    Args:
        folder: The output folder, or its URL; what was written there is read back.
        content: JSON values; no times, so that equal work gives equal bytes.
        files: Names of files in the folder.

    Returns:
        What was written.
    """
    folder = folder if isinstance(folder, UPath) else Path(folder)
    manifest = dict(content)
    manifest["files"] = {
        name: {"bytes": size_of(folder / name), "sha256": sha256_file(folder / name)}
        for name in files
    }
    manifest["sha256"] = _own_hash(manifest)
    write_json(folder / NAME, manifest)
    return manifest


def read_manifest(
    folder: str | os.PathLike[str] | UPath, *, verify: bool = False
) -> dict[str, Any]:
    """Return a manifest after checking its own hash and the sizes of its files.

    Args:
        folder: The output folder of a stage, or its URL.
        verify: Check the hashes of the files, too. Arrays behind a URL are left to those who read
            them (``hardpairs.data.remote_rows``).

    Raises:
        UserError: exit 3 when it does not exist, exit 4 when it or a file that it names is not what
            was written.
    """
    place = file_path(folder)
    path = place / NAME
    try:
        with open_in_order(path) as file:
            text = file.read().decode("utf-8")
        manifest = parse_json(text)
        claimed = manifest.pop("sha256")
        whole = {**manifest, "sha256": claimed}
        _check_form(manifest)
        is_ours = claimed == _own_hash(manifest) and text == json_text(whole)  # white space, too
    except FileNotFoundError:
        raise bad_input(
            f"no {NAME}",
            where=str(folder),
            why="the folder is unfinished, or not one of ours",
            fix="run the stage that writes it again",
        ) from None
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise mismatch(
            f"damaged {NAME}: {error}", where=str(path), fix="run the stage that writes it again"
        ) from None
    if not is_ours:
        raise mismatch(
            f"{NAME} was changed after it was written",
            where=str(path),
            fix="run the stage that writes it again",
        )
    for name, facts in manifest.get("files", {}).items():
        is_read_later = isinstance(place, UPath) and name.endswith(".npy")
        _check_file(place / name, facts, verify and not is_read_later)
    return whole


def _check_form(manifest: dict[str, Any]) -> None:
    """Raise ValueError unless ``files`` has the bytes and hash of each file."""
    files = manifest.get("files", {})
    facts = files.values() if isinstance(files, dict) else [None]
    if not all(isinstance(each, dict) and {"bytes", "sha256"} <= set(each) for each in facts):
        raise ValueError("`files` does not say bytes and sha256 of each file")


def _check_file(path: FilePath, facts: dict[str, Any], verify: bool) -> None:
    fix = "run the stage that writes it again"
    is_there = is_file(path) if isinstance(path, UPath) else os.path.isfile(path)
    if not is_there:  # also where no file can have such a name
        raise mismatch("a file named in the manifest is missing", where=str(path), fix=fix)
    if (size := size_of(path)) != facts["bytes"]:
        raise mismatch(
            f"the file has {size} bytes, its manifest says {facts['bytes']}",
            where=str(path),
            fix=fix,
        )
    if verify and sha256_file(path) != facts["sha256"]:
        raise mismatch(
            "the file's sha256 is not the manifest's: it is damaged or was changed",
            where=str(path),
            fix=fix,
        )


def _own_hash(manifest: dict[str, Any]) -> str:
    text = json.dumps(
        manifest, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def check_same_dataset(ours: str, theirs: str | None, *, ours_name: str, theirs_name: str) -> None:
    """Refuse (exit 4) to join two things that were made from different data.

    Args:
        ours: A fingerprint.
        theirs: Another fingerprint; ``None`` is unknown and accepted.
        ours_name: What has the first fingerprint, for the message.
        theirs_name: What has the second.
    """
    if theirs is not None and ours != theirs:
        raise mismatch(
            f"{theirs_name} was made from other data than {ours_name}",
            where=f"{ours_name}: {ours[:16]}..., {theirs_name}: {theirs[:16]}...",
            why="row numbers would name other pairs",
            fix="mine again on this data, or give the data it was mined from",
        )
