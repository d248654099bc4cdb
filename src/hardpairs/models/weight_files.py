"""Files of weights: sealed when they are written, verified before they are read.

The seal of a file is the sha256 of its bytes. A ``.pt`` file of ours ends with it, as the comment
of its zip archive; a ``.safetensors`` file has it in its header. Any program that reads such files
reads them with it. Files of other programs are verified by the checksums of their zip archive.
No code of a file is run.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch._weights_only_unpickler import Unpickler

from hardpairs.core.atomic import atomic_open
from hardpairs.core.errors import UserError, mismatch

SAFE = ".safetensors"
MARK = b"sha256:"
END = b"PK\x05\x06"
"""Begins the last record of a zip archive, which has ``END_BYTES`` and then the comment."""
END_BYTES = 22
HEX = 64
"""Digits of a sha256."""
SEAL_BYTES = len(MARK) + HEX
BLOCK = 1 << 20
MESSAGE = 2000
"""Letters of a message of PyTorch's."""
MASK = "attn_mask"
"""Last word of entries that may hold an infinity: what a token may not look at."""

_verified: set[tuple[str, int, int, int]] = set()
"""Files of this process that were found whole."""


def save_checkpoint(content: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a checkpoint that is complete, sealed and on disk, or absent.

    Args:
        content: Tensors and plain data by name.
        path: The file.
    """
    path = Path(path)
    with atomic_open(path, _tensor_bytes(content)) as file:
        writer = _Sealing(file)
        torch.save(dict(content), cast(BinaryIO, writer))
        writer.seal()


def _tensor_bytes(value: Any) -> int:
    """Return the bytes of all tensors in nested plain data."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    parts = value.values() if isinstance(value, Mapping) else value
    return sum(map(_tensor_bytes, parts)) if isinstance(value, Mapping | list | tuple) else 0


def save_safetensors(weights: Mapping[str, torch.Tensor], path: str | os.PathLike[str]) -> None:
    """Write weights as a sealed ``.safetensors`` file that is complete or absent.

    Args:
        weights: Contiguous tensors on the CPU by name.
        path: The file.
    """
    from safetensors.torch import save

    zeros = "0" * HEX
    data = save(dict(weights), metadata={"format": "pt", "sha256": zeros})
    digest = hashlib.sha256(data).hexdigest().encode()
    start = data.index(zeros.encode())
    with atomic_open(path) as file:
        file.write(data[:start])
        file.write(digest)
        file.write(memoryview(data)[start + HEX :])


class _Sealing:
    """A file that ``torch.save`` writes a zip archive to; ``seal`` adds the comment."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._held, self._digest = file, b"", hashlib.sha256()

    def write(self, data: bytes | memoryview) -> int:
        view = memoryview(data).cast("B")
        ended = self._held + bytes(view[-END_BYTES:])
        if len(view) > END_BYTES:
            self._emit(self._held)
            self._emit(view[:-END_BYTES])
            self._held = bytes(view[-END_BYTES:])
        else:
            self._emit(ended[:-END_BYTES])
            self._held = ended[-END_BYTES:]
        return len(view)

    def flush(self) -> None:
        """Do nothing: ``atomic_open`` flushes the whole file."""

    def seal(self) -> None:
        assert self._held.startswith(END) and self._held.endswith(b"\0\0"), "not a zip archive"
        self._emit(self._held[:-2] + SEAL_BYTES.to_bytes(2, "little"))
        self._file.write(MARK + self._digest.hexdigest().encode())

    def _emit(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        self._file.write(data)


def file_identity(path: str | os.PathLike[str]) -> tuple[str, int, int, int]:
    """Return what stays the same for as long as nobody writes the file."""
    state = os.stat(path)
    return os.path.abspath(path), state.st_size, state.st_mtime_ns, state.st_ino


def read_weights_file(path: str | os.PathLike[str]) -> Any:
    """Return what a file of weights holds, after verifying that it is what was written.

    Checksums and finite weights are checked once per process, for a file that stays as it is.

    Args:
        path: A file of PyTorch or a ``.safetensors`` file.

    Raises:
        UserError: Exit 4 for a file that is damaged, holds code, or holds numbers that are not
            finite.
    """
    key = file_identity(path)
    if key not in _verified:
        _check_sums(str(path))
    content = _content(str(path))
    if key not in _verified:
        if isinstance(content, dict):
            check_finite(content.get("state_dict", content), str(path))
        _verified.add(key)
    return content


def _bound_messages() -> None:
    """Cut the messages of PyTorch's unpickler.

    They quote names of the file, and ``torch.load`` searches them with a pattern that takes the
    square of a name's length: minutes for a name of 100,000 letters.
    """
    load = Unpickler.load

    def load_or_say_why(self: Unpickler) -> Any:
        try:
            return load(self)  # type: ignore[no-untyped-call]
        except pickle.UnpicklingError as error:
            raise pickle.UnpicklingError(str(error)[:MESSAGE]) from None

    Unpickler.load = load_or_say_why  # type: ignore[method-assign]


_bound_messages()


def _content(path: str) -> Any:
    try:
        if path.endswith(SAFE):
            from safetensors.torch import load_file

            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch's unpickler raises anything for a damaged file
        raise _unreadable(error, path) from None


_CODE = re.compile(r"GLOBAL (\S+)|[Gg]lobal (\S+) was not an allowed|use of (\S+\.\S+)")


def _unreadable(error: Exception, path: str) -> UserError:
    """Return the error for what PyTorch or safetensors could not read."""
    if "TorchScript" in str(error):
        return _script(path)
    if found := _CODE.search(str(error)):
        named = next(filter(None, found.groups())).rstrip(".,;`'\"")
        return _refused(
            f"it holds code or objects ({named[:100]}), none of which was run",
            path,
            fix="give a file of tensors and plain data; where you trust this one, save its weights "
            "alone with the program that wrote it",
        )
    return _refused("it is torn, or another kind of file", path)


def _check_sums(path: str) -> None:
    """Refuse a file whose seal or checksums are not those of its bytes."""
    size = os.path.getsize(path)
    if not size:
        raise _refused("it is empty", path)
    with open(path, "rb") as file:
        sealed = _seal_in_header(file, size) if path.endswith(SAFE) else _seal_at_end(file, size)
        if sealed is not None:
            start, digest = sealed
            if _digest(file, size, start, is_zeros=path.endswith(SAFE)) != digest:
                raise _damaged("its sha256 is not the one that it was written with", path)
            return
        is_zip = not path.endswith(SAFE) and _begins(file, b"PK\x03\x04")
    if is_zip:
        _check_entries(path)


def _seal_at_end(file: BinaryIO, size: int) -> tuple[int, bytes] | None:
    """Return where the seal of a zip archive begins, and its digits; ``None`` without a seal.

    What stands in the place of a seal and is none, such as a part of one, gives wrong digits.
    """
    file.seek(max(0, size - END_BYTES - SEAL_BYTES))
    end = file.read()
    record = end[end.rfind(END) :] if END in end else b""
    claimed = int.from_bytes(record[END_BYTES - 2 : END_BYTES], "little")
    comment = record[END_BYTES:]
    if SEAL_BYTES not in (claimed, len(comment)):
        return None
    return size - len(comment), comment.removeprefix(MARK)


def _seal_in_header(file: BinaryIO, size: int) -> tuple[int, bytes] | None:
    """Return where the digits of a ``.safetensors`` file's seal begin, and the digits."""
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    file.seek(0)
    header = file.read(min(8 + length, size))
    if found := re.search(rb'"([0-9a-f]{64})"', header):
        return found.start(1), found[1]
    return (0, b"") if b'"sha256":' in header else None


def _digest(file: BinaryIO, size: int, start: int, *, is_zeros: bool) -> bytes:
    """Return the digits of the seal that a file's bytes have.

    Args:
        file: The file.
        size: Its size.
        start: Where the digits (``is_zeros``) or the mark before them begin.
        is_zeros: Whether the digits count as zeros, and the rest of the file follows them.
    """
    digest = hashlib.sha256()
    parts: Iterable[tuple[int, int]] = [(0, start)]
    if is_zeros:
        parts = [(0, start), (start + HEX, size)]
    for number, (begin, stop) in enumerate(parts):
        if number:
            digest.update(b"0" * HEX)
        file.seek(begin)
        while begin < stop and (block := file.read(min(BLOCK, stop - begin))):
            digest.update(block)
            begin += len(block)
    return digest.hexdigest().encode()


def _begins(file: BinaryIO, mark: bytes) -> bool:
    file.seek(0)
    return file.read(len(mark)) == mark


def _check_entries(path: str) -> None:
    """Refuse a zip archive with a wrong checksum, or with compressed entries, which may be huge."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if any(entry.filename.endswith("/constants.pkl") for entry in entries):
                raise _script(path)
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise _refused("its entries are compressed, which PyTorch's are not", path)
            # PyTorch can leave checksums out; all of them are 0 then.
            wrong = archive.testzip() if any(entry.CRC for entry in entries) else None
    except UserError:
        raise
    except Exception as error:  # zipfile raises anything for a damaged archive
        raise _refused("it is torn: its zip archive cannot be read", path) from error
    if wrong:
        raise _damaged(f"the checksum of its entry {wrong[:100]} is wrong", path)


def check_finite(weights: Any, where: str) -> None:
    """Refuse (exit 4) weights that are NaN or infinite.

    Args:
        weights: Tensors by name; other entries, and what is no dictionary, are passed over.
        where: What holds them.
    """
    for name, value in weights.items() if isinstance(weights, dict) else ():
        if isinstance(value, torch.Tensor) and not _is_finite(value, str(name)):
            raise _refused(
                f"the weight {name} holds NaN or infinity",
                where,
                fix="give a checkpoint from before the run that wrote it broke",
            )


def _is_finite(value: torch.Tensor, name: str) -> bool:
    if value.layout != torch.strided or not value.is_floating_point() or value.is_quantized:
        return True
    stored = value.untyped_storage().nbytes() // value.element_size()
    if not value.numel() or not stored:
        return True
    if value.numel() > stored:  # one number for many: a file can claim any size
        value = value.as_strided((stored,), (1,), 0)
    if value.element_size() == 1:  # PyTorch compares no numbers of 8 bits
        value = value.float()
    low, high = torch.aminmax(value.detach())
    if name.endswith(MASK):
        return not bool(low.isnan())
    return bool(low.isfinite() and high.isfinite())


def _script(path: str) -> UserError:
    return _refused(
        "it is a TorchScript archive, which holds code",
        path,
        fix="where you trust it: load it with torch.jit.load, and save its state_dict() alone",
    )


def _damaged(what: str, path: str) -> UserError:
    return _refused(what, path, fix="give another checkpoint, or copy this one from its source")


def _refused(what: str, path: str, *, fix: str = "give another checkpoint") -> UserError:
    return mismatch(f"not whole, safe weights: {what}", where=path, fix=fix)
