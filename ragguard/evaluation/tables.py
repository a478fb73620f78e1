"""Tables of queries and documents, `.tsv` and `.csv`: what their columns are is decided by their header, or by their number."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from ragguard.errors import InvalidInputError
from ragguard.evaluation.fields import MEND, Fields, shown

MARKS = {".tsv": "\t,;", ".csv": ",;\t"}
"""What parts columns. All but the first only where the header shows it: spreadsheets write semicolons in half of Europe."""

NAME = re.compile(r"[^\W\d][\w .-]*")
"""A name of a column, as opposed to an id such as 7."""

QUOTED = re.compile(r'"((?:[^"]|"")*)"', re.DOTALL)


def records(path: Path, lines: Iterator[tuple[int, str]], kind: str, fields: Fields) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a table, by the names of their columns, each with its place; other columns of documents become metadata.

    Args:
        path: Of the file; for messages.
        lines: With their numbers.
        kind: `.tsv` or `.csv`.
        fields: Names of columns. Without a header, one column is texts, and two are ids and texts, where that may be so.

    Raises:
        InvalidInputError: If it cannot be told which column is which, or a row has other columns; file and line are named.
    """
    first = next(((number, line) for number, line in lines if line.strip()), None)
    if first is None:
        return
    mark = _mark(first[1], kind, fields)
    table = _cells(path, first, lines, mark)
    head = next(table, None)
    if head is None:
        return
    number, cells = head
    names = _header(f"{path}:{number}", cells, fields)
    if names is None:
        for at, row in chain([head], table):
            yield f"{path}:{at}", _unnamed(f"{path}:{at}", row, len(cells), kind, fields)
        return
    for at, row in table:
        where = f"{path}:{at}"
        if len(row) != len(names):
            raise InvalidInputError(
                f"{where} has {len(row)} columns, the header {len(names)}: {shown(mark.join(row))}; {_remedy(mark)}"
            )
        yield where, _named(where, dict(zip(names, row, strict=True)), fields)


def is_header(line: str, fields: Fields) -> bool:
    """Whether a line is the header of some table: two names and more, of which some have a meaning."""
    return any(_names_all(line, mark, fields) for mark in MARKS[".csv"])


def _names_all(line: str, mark: str, fields: Fields) -> bool:
    names = [_normal(cell) for cell in line.split(mark)]
    return len(names) > 1 and not {*names}.isdisjoint(fields.texts) and all(not name or NAME.fullmatch(name) for name in names)


def _mark(line: str, kind: str, fields: Fields) -> str:
    return next((mark for mark in MARKS[kind] if _names_all(line, mark, fields)), MARKS[kind][0])


def _cells(path: Path, first: tuple[int, str], others: Iterable[tuple[int, str]], mark: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row that has some, with the number of its first line."""
    start, head = first
    lines = chain([first], others)
    cells = head.split(mark)
    if mark == "\t" and not (len(cells) > 1 and all(QUOTED.fullmatch(cell) for cell in cells)):
        for number, line in lines:  # quotes are part of the text, as in MS MARCO
            if line.strip():
                yield number, [_unquoted(cell) for cell in line.split(mark)]
        return
    reader = csv.reader((f"{line}\n" for _, line in lines), delimiter=mark, strict=True)
    while True:
        begin = start + reader.line_num
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise InvalidInputError(
                f"{path}:{begin} is no row of a table: {error}; {_remedy(mark)}, or write JSON lines"
            ) from error
        if row is None:
            return
        if any(cell.strip() for cell in row):
            yield begin, row


def _unquoted(cell: str) -> str:
    """A cell of a table whose quotes are text: only what must have been quoted, since quotes within are doubled, is taken out."""
    quoted = QUOTED.fullmatch(cell)
    return quoted[1].replace('""', '"') if quoted and '""' in quoted[1] else cell


def _header(where: str, cells: Sequence[str], fields: Fields) -> list[str] | None:
    """The names of the columns; None where the first row is none of names.

    Raises:
        InvalidInputError: If it cannot be told, a name is there twice, or none is that of a text.
    """
    names = [_normal(cell) for cell in cells]
    texts = [name for name in names if name in fields.texts]
    all_names = all(not name or NAME.fullmatch(name) for name in names)
    clear = len(names) != 2 or "" in names or not {*names}.isdisjoint(fields.ids) or not fields.bare
    if texts and all_names and clear:
        if twice := [name for name in {*names} if name and names.count(name) > 1]:
            raise InvalidInputError(f"{where} names two columns {twice[0]!r}; rename one of them")
        return names
    wanted = f"{'<tab>'.join((fields.ids[0], fields.texts[0]))} (or with commas, in .csv)"
    if texts and all_names:
        raise InvalidInputError(
            f"{where} may be the header, or the first {fields.what}: {shown(list(cells))}; write a header above: {wanted}"
        )
    if not fields.bare or names[0] in fields.ids:
        raise InvalidInputError(
            f"{where} names no column of texts ({', '.join(fields.texts)}): {shown(list(cells))}; write a header: {wanted}"
        )
    if len(cells) > 2:
        raise InvalidInputError(
            f"{where} has {len(cells)} columns and no header that says which is the {fields.what}: {shown(list(cells))}; "
            f"write a header above: {wanted}, or quote a text with commas"
        )
    return None


def _unnamed(where: str, row: Sequence[str], columns: int, kind: str, fields: Fields) -> dict[str, Any]:
    """A row of a table without a header.

    Raises:
        InvalidInputError: If it has other columns than the first, or it cannot be told which is the id.
    """
    doubt = ""
    if len(row) != columns:
        raise InvalidInputError(
            f"{where} has {len(row)} columns, the first row {columns}: {shown(list(row))}; {_remedy(MARKS[kind][0])}"
        )
    if columns == 1:
        if kind == ".csv" and (";" in row[0] or "\t" in row[0]):
            doubt = "may be columns parted by something else than commas"
    elif not row[0].strip() or re.search(r"\s", row[0].strip()):
        doubt = "begins with what is no id"
    elif kind == ".csv" and row[1][:1].isspace():
        doubt = "may be one text with a comma"
    elif not any(character.isalpha() for character in row[1]):
        doubt = f"has no letter where the {fields.what} should be"
    if doubt:
        header = MARKS[kind][0].join((fields.ids[0], fields.texts[0])) if columns == 2 else fields.texts[0]
        raise InvalidInputError(f"{where} {doubt}: {shown(list(row))}; write a header that names the columns, such as {header!r}")
    cells = dict(zip((fields.ids[0], fields.texts[0])[2 - columns :], row, strict=True))
    return {name: cell.strip() if name in fields.ids else cell for name, cell in cells.items()}


def _named(where: str, row: Mapping[str, str], fields: Fields) -> dict[str, Any]:
    known: dict[str, Any] = {name: cell for name, cell in row.items() if name in fields.known and name != "metadata"}
    known.update({name: known[name].strip() for name in fields.ids if name in known})
    if fields.bare:  # nothing else of a query is used
        return known
    more: Any = {}
    if row.get("metadata", "").strip():
        try:
            more = json.loads(row["metadata"])
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(
                f"{where} needs a JSON object under 'metadata', not {shown(row['metadata'])}; {MEND}"
            ) from error
        if not isinstance(more, dict):
            return {**known, "metadata": more}  # refused by who reads it
    others = {name: cell for name, cell in row.items() if name and name not in fields.known and cell.strip()}
    return {**known, "metadata": {**others, **more}}


def _normal(cell: str) -> str:
    return cell.strip().strip('"').lower().replace("-", "_").replace(" ", "_")


def _remedy(mark: str) -> str:
    return "put spaces for the tabs within a text" if mark == "\t" else "put a text with commas, quotes or line ends in quotes"
