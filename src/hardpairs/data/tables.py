"""Tables of text: CSV, TSV and other files with a separator."""

from __future__ import annotations

import csv
import difflib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from hardpairs.core.errors import bad_input, usage
from hardpairs.core.remote import file_path

LOG = logging.getLogger(__name__)

SUFFIXES = (".csv", ".tsv", ".txt")
SEPARATORS = "\t,;|"


def is_table(name: str) -> bool:
    """Return whether a file name is that of a table."""
    return name.lower().endswith(SUFFIXES)


def read_table(
    name: str,
    separator: str | None,
    *,
    required: tuple[str, ...],
    parameters: Mapping[str, str] | None = None,
) -> dict[str, list[str]]:
    """Return the columns of a table as plain text; no value becomes a number or NaN.

    Args:
        name: A local file or a URL.
        separator: One character, or the text of a tab; ``None`` finds it from the header line.
        required: Columns that the table must have.
        parameters: Column -> the parameter that names it, for messages.

    Raises:
        UserError: exit 2 for a separator of several characters; exit 3, naming the columns found
            and the separator to give, or the first bad line.
    """
    separator = separator_character(separator)
    csv.field_size_limit(1 << 24)
    try:
        with file_path(name).open(encoding="utf-8-sig", newline="") as file:
            header_line = file.readline()
            separator = separator or _find_separator(header_line, required)
            file.seek(0)
            rows = _rows(name, file, separator)
            header = next(rows, [])
            _check_header(name, header, header_line, required, parameters or {})
            table = list(_checked(name, rows, len(header)))
            warn_of_repeated(header, name)
    except (UnicodeDecodeError, csv.Error) as error:
        raise bad_input(
            f"not a readable table: {error}", where=name, fix="save it as UTF-8 text"
        ) from None
    first = {column: header.index(column) for column in header}
    return {column: [row[i] for row in table] for column, i in first.items()}


def separator_character(separator: str | None) -> str | None:
    r"""Return a separator, which may be written as ``\t`` or ``tab``: shells hand it on like that.

    Raises:
        UserError: exit 2 for several characters.
    """
    if separator is None or len(separator) == 1:
        return separator
    if separator.lower() in ("\\t", "tab", "$'\\t'"):
        return "\t"
    raise usage(f"`separator` is one character, or \\t, not {separator!r}")


def warn_of_repeated(header: Sequence[str], where: str) -> None:
    """Warn of columns of one name: the first one is read, as in OpenCLIP."""
    repeated = sorted(column for column, count in Counter(header).items() if column and count > 1)
    if repeated:
        names = ", ".join(map(repr, repeated))
        LOG.warning(f"{where}: several columns are called {names}; the first of them is read.")


def separator_of(name: str, required: tuple[str, ...]) -> str:
    """Return the separator of a table, by its header line.

    Args:
        name: A local file or a URL.
        required: Columns that the table must have.
    """
    with file_path(name).open(encoding="utf-8-sig", newline="") as file:
        return _find_separator(file.readline(), required)


def _rows(name: str, file: Iterable[str], separator: str) -> Iterator[list[str]]:
    """Yield the rows of a table, and refuse a quote that is not closed.

    Such a quote swallows the rows up to the next quote. Therefore a row of several lines must be
    quoted strictly; within a line stray quotes are accepted, since web captions have them. An open
    quote in the last line is refused, too: the file may have been cut.
    """
    lines: list[str] = []

    def noted() -> Iterator[str]:
        for line in file:
            lines.append(line)
            yield line

    first, last = 1, lines
    for row in csv.reader(noted(), delimiter=separator):
        if len(lines) > 1:
            _check_quotes(lines, separator, f"{name}, line {first}")
        first += len(lines)
        last = lines.copy()
        lines.clear()
        yield row
    where = f"{name}, line {first - len(last)}"
    _check_quotes(last, separator, where, only="unexpected end of data")


def _check_quotes(lines: list[str], separator: str, where: str, only: str = "") -> None:
    """Refuse a row whose quotes are not strictly right.

    Args:
        lines: The lines of the row.
        separator: The table's separator.
        where: The place of the row.
        only: The error that counts; by default any.
    """
    try:
        list(csv.reader(lines, delimiter=separator, strict=True))
    except csv.Error as error:
        if only in str(error):
            raise bad_input(
                "a quote is opened and not closed",
                where=where,
                fix="close it, or double a quote that is meant",
            ) from None


def _find_separator(header_line: str, required: tuple[str, ...]) -> str:
    """Return the separator that gives the required columns, else the most frequent one."""
    for candidate in SEPARATORS if required else ():
        if set(required) <= set(_header(header_line, candidate)):
            return candidate
    return max(SEPARATORS, key=header_line.count)


def _header(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator), [])


def _check_header(
    name: str,
    header: list[str],
    header_line: str,
    required: tuple[str, ...],
    parameters: Mapping[str, str],
) -> None:
    absent = [column for column in required if column not in header]
    if not absent:
        return
    named = [f"`{parameters[column]}`" for column in absent if column in parameters]
    near = [difflib.get_close_matches(column, header, 1) for column in absent]
    guess = " or ".join(repr(names[0]) for names in near if names)
    fix = f"name the column{'s' if len(named) > 1 else ''}: {', '.join(named)}" if named else ""
    fix += f" (is it {guess}?)" if named and guess else ""
    better = _find_separator(header_line, required)
    if set(required) <= set(_header(header_line, better)):
        fix = "`separator` " + ("$'\\t'" if better == "\t" else f"'{better}'")
    columns = ", ".join(map(repr, header)) or "none"
    raise bad_input(
        f"no column {' or '.join(map(repr, absent))}; columns found: {columns}",
        where=f"{name}, line 1",
        fix=fix,
    )


def _checked(name: str, rows: Iterable[list[str]], width: int) -> Iterator[list[str]]:
    for line, row in enumerate(rows, start=2):
        if not row:
            continue  # an empty line
        if len(row) != width:
            raise bad_input(
                f"{len(row)} values where the header has {width}",
                where=f"{name}, about line {line}",
                fix="quote values that hold the separator",
            )
        yield row
