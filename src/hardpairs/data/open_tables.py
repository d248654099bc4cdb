"""Open several hard pair tables of one data set, each under a name that tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hardpairs.core.errors import mismatch, usage
from hardpairs.data.hard_pairs import SUFFIX, HardPairTable, open_hard_pairs
from hardpairs.data.manifest import check_same_dataset
from hardpairs.data.samples import Samples

HELIP_ENDINGS = ("_hard_sample.csv", "_hard_sample_dict.json")


def open_tables(paths: Sequence[Path], samples: Samples | None) -> dict[str, HardPairTable]:
    """Open hard pair tables and verify their files.

    Args:
        paths: For each table its folder, the folder of the mining run that made it, or HELIP's
            CSV or JSON file.
        samples: The data set that the tables were mined on. Without it, a CSV or JSON file must
            have its table beside it.

    Returns:
        Tables by name, in the given order: by their mining method where that tells them apart,
        else by file name, else by path.

    Raises:
        UserError: Exit 2 when a path does not name one table, exit 4 when the tables are
            damaged or belong to different data.
    """
    opened = [(path, _open(path, samples)) for path in map(_table_path, paths)]
    first_path, first = opened[0]
    for path, table in opened:
        if len(table.lengths) != len(first.lengths):
            raise mismatch(
                f"the tables have {len(first.lengths)} and {len(table.lengths)} rows",
                where=f"{first_path}, {path}",
            )
        if first.fingerprint is not None:
            check_same_dataset(
                first.fingerprint,
                table.fingerprint,
                ours_name=str(first_path),
                theirs_name=str(path),
            )
    for names in (
        [str(table.manifest.get("options", {}).get("mining_method", "")) for _, table in opened],
        [path.name.removesuffix(SUFFIX) for path, _ in opened],
        [str(path) for path, _ in opened],
    ):
        if all(names) and len(set(names)) == len(names):
            return {name: table for name, (_, table) in zip(names, opened, strict=True)}
    raise usage("a table is given twice", where=", ".join(map(str, paths)))


def _table_path(path: Path) -> Path:
    """Return the one table in a mining run's folder; any other path as it is."""
    if not path.is_dir() or (path / "manifest.json").exists():
        return path
    inside = [manifest.parent for manifest in sorted(path.glob(f"*{SUFFIX}/manifest.json"))]
    if len(inside) > 1:
        raise usage(
            "the folder holds several tables",
            where=str(path),
            fix=f"name one: {', '.join(map(str, inside))}",
        )
    return inside[0] if inside else path


def _open(path: Path, samples: Samples | None) -> HardPairTable:
    if samples is None:
        return HardPairTable.open(path if path.is_dir() else _table_beside(path), verify=True)
    table = open_hard_pairs(path, num_samples=len(samples), verify=True)
    check_same_dataset(
        samples.fingerprint, table.fingerprint, ours_name=samples.source, theirs_name=str(path)
    )
    return table


def _table_beside(path: Path) -> Path:
    folder = path
    for ending in HELIP_ENDINGS:
        folder = folder.with_name(folder.name.replace(ending, SUFFIX))
    if not (folder / "manifest.json").exists():
        raise usage(
            "a hard pair file alone does not say how many rows its data set has",
            where=str(path),
            fix="give the data set that it was mined on, too",
        )
    return folder
