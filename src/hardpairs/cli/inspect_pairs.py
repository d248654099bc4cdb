"""Shows hard pairs: numbers of one table or several, and one offline page with pictures, likely false negatives first.

    python -m tools.inspect_pairs OUT/cc3m_hard_sample.csv --data cc3m.csv --html pairs.html
    python -m tools.inspect_pairs HPM/cc3m_hard_pairs IMAGE/cc3m_hard_pairs TEXT/cc3m_hard_pairs

Rows that one marks on the page are saved to a file, which ``mining.hard_pair_mining --reject`` and ``training.main --reject`` leave out.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.atomic import write_text
from hardpairs.core.errors import Exit, mismatch, usage
from hardpairs.data.hard_pairs import SUFFIX, HardPairTable, open_hard_pairs
from hardpairs.data.manifest import check_same_dataset
from hardpairs.data.samples import Samples
from hardpairs.pages.template import render_template
from hardpairs.reporting.pair_page import make_page, terminal_text


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hardpairs inspect pairs",
        description="Show hard pairs, in numbers and in pictures.",
    )
    parser.add_argument(
        "tables",
        nargs="+",
        type=Path,
        help="hard pairs: CSV or JSON, the table's folder, or the folder of one mining run",
    )
    parser.add_argument(
        "--data",
        help="what they were mined on, for pictures and captions: CSV, TSV, shards or captions.json",
    )
    parser.add_argument("--html", type=Path, help="the page; needs --data")
    add_data_flags(parser)
    args = parse_arguments(parser, "inspect-pairs", argv)
    if args.html and not args.data:
        raise usage(
            "--html shows pictures, and nothing says where they are",
            fix="--data: what the pairs were mined on",
        )
    return args


def open_tables(paths: list[Path], samples: Samples | None) -> dict[str, HardPairTable]:
    """Tables by name: how they were mined where that tells them apart, else where they lie."""
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
        [str(path.name).removesuffix(SUFFIX) for path, _ in opened],
        [str(path) for path, _ in opened],
    ):
        if all(names) and len(set(names)) == len(names):
            return dict(zip(names, (table for _, table in opened), strict=True))
    raise usage("a table is given twice", where=", ".join(map(str, paths)))


def _table_path(path: Path) -> Path:
    """A mining run's folder stands for the one table in it."""
    inside = (
        sorted(path.glob(f"*{SUFFIX}/manifest.json"))
        if path.is_dir() and not (path / "manifest.json").exists()
        else []
    )
    if len(inside) > 1:
        raise usage(
            "the folder holds several tables",
            where=str(path),
            fix=f"name one: {', '.join(str(found.parent) for found in inside)}",
        )
    return inside[0].parent if inside else path


def _open(path: Path, samples: Samples | None) -> HardPairTable:
    if samples is None:
        if not path.is_dir():
            beside = path.with_name(
                path.name.replace("_hard_sample.csv", SUFFIX).replace(
                    "_hard_sample_dict.json", SUFFIX
                )
            )
            if not (beside / "manifest.json").exists():
                raise usage(
                    "a file of HELIP's does not say how many rows its data has",
                    where=str(path),
                    fix="give --data",
                )
            path = beside
        return HardPairTable.open(path, verify=True)
    table = open_hard_pairs(path, num_samples=len(samples), verify=True)
    check_same_dataset(
        samples.fingerprint, table.fingerprint, ours_name=samples.source, theirs_name=str(path)
    )
    return table


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    args = parse_args(argv)
    samples = open_named(args.data, args) if args.data else None
    tables = open_tables(args.tables, samples)
    page = make_page(
        tables,
        samples if args.html else None,
        command=shlex.join(["python", "-m", "tools.inspect_pairs", *argv]),
    )
    print(terminal_text(page))
    if args.html:
        write_text(args.html, render_template("pairs.html.j2", page=page))
        print(f"\npage: {args.html}")
    return Exit.OK
