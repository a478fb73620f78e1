"""Files of rows, read as what their names say they are, or refused with file and line: JSON, tables, plain text; also `.gz`."""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from ragguard.errors import InvalidInputError
from ragguard.evaluation import tables
from ragguard.evaluation.fields import MEND, Fields, shown

LONGEST = 1 << 26
"""Bytes of a line, at most: what fills the memory is no query and no document. Of `.gz` this is counted unpacked."""

WHOLE = 1 << 28
"""Bytes of a `.json` file, at most: it is one value, which is parsed at once, in five to ten times as much memory."""

LINES = (".jsonl", ".ndjson")
TABLES = (".tsv", ".csv")
TEXTS = ("", ".txt", ".text", ".log")
"""Suffixes of files with one query a line; without one are pipes such as `/dev/stdin`, too."""

SUFFIXES = (*LINES, ".json", *TABLES)
"""Of files with rows."""

OBJECT = re.compile(r'\{\s*("|\}|$)|[\[\]{}],?$')
"""How a line begins that is an object, or a bracket alone as in indented JSON; no query is."""

SPACE = re.compile(r"[ \t\r\n]*")


def suffix(path: Path) -> str:
    """What a file's name ends in, in small letters and without `.gz`."""
    name = Path(path.name.lower())
    return name.with_suffix("").suffix if name.suffix == ".gz" else name.suffix


def records(path: Path, fields: Fields) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a file, each with its place, `path:number`; a text alone is a row with only that.

    Args:
        path: Of the file; its suffix says what it is, `.gz` after it that it is packed.
        fields: What the rows hold. Files of other suffixes are JSON lines of documents, and are refused as queries.

    Raises:
        InvalidInputError: If the file cannot be read, or a row cannot be understood; the message names file and line.
    """
    kind = suffix(path)
    if kind in TABLES:
        return tables.records(path, text_lines(path), kind, fields)
    if kind == ".json":
        return _json(path, fields)
    if kind in LINES or not fields.bare:
        return _rows(values(byte_lines(path), path), fields)
    if kind in TEXTS:
        return _plain(path, fields)
    raise InvalidInputError(
        f"{path} ends in {kind!r}; queries are read from {', '.join(SUFFIXES)} and .txt (one a line), each also with .gz; "
        "name it after what it is"
    )


def rows(lines: Iterable[bytes], path: Path | str, first: int = 1) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of JSON lines, each with its place, `path:number`; empty lines are passed over.

    Args:
        lines: Of a file, or a part of it.
        path: Of the file; for messages.
        first: Number of the first of the lines.

    Raises:
        InvalidInputError: If a line is no JSON object; the message names file and line.
    """
    for where, row in values(lines, path, first):
        if not isinstance(row, dict):
            raise InvalidInputError(f"{where} must be a JSON object, not {shown(row)}; {MEND}")
        yield where, row


def values(lines: Iterable[bytes], path: Path | str, first: int = 1) -> Iterator[tuple[str, Any]]:
    """The values of JSON lines, as `rows` has objects.

    Raises:
        InvalidInputError: If a line is not JSON; the message names file and line.
    """
    for number, raw in enumerate(lines, first):
        line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
        if not line.strip():
            continue
        try:
            value = json.loads(line.decode("utf-8"), object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"{path}:{number} is not JSON: {error}; {MEND}") from error
        yield f"{path}:{number}", value


def byte_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, unpacked where its name ends in `.gz`.

    Raises:
        InvalidInputError: If it cannot be read, or a line is longer than 64 MB.
    """
    number = 0
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            while line := file.readline(LONGEST + 1):
                number += 1
                if len(line) > LONGEST:
                    raise InvalidInputError(f"{path}:{number} has more than {LONGEST:,} bytes; split or take out that line")
                yield line
    except (OSError, EOFError, zlib.error) as error:
        after = f" after line {number}" if number else ""
        raise InvalidInputError(f"{path} cannot be read{after}: {error}") from error


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their numbers, without byte order mark and line ends.

    Raises:
        InvalidInputError: If it cannot be read, is not UTF-8, or has characters that no text file has.
    """
    for number, raw in enumerate(byte_lines(path), 1):
        try:
            line = (raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw).decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"{path}:{number} is not UTF-8: {error}; save the file as UTF-8") from error
        line = line.removesuffix("\n").removesuffix("\r")
        if "\0" in line:  # every second character of UTF-16 is one
            raise InvalidInputError(f"{path}:{number} has a NUL character: {shown(line)}; save the file as UTF-8")
        if "\r" in line:
            raise InvalidInputError(
                f"{path}:{number} has a line end of old Macs within it: {shown(line)}; save it with LF or CRLF"
            )
        yield number, line


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are all different: of two texts, another reader may take the other one."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError(f"a name is there twice among {[name for name, _ in pairs]!r:.200}")
    return members


def _rows(entries: Iterable[tuple[str, Any]], fields: Fields) -> Iterator[tuple[str, dict[str, Any]]]:
    for where, value in entries:
        if isinstance(value, str) and fields.bare:
            yield where, {fields.texts[0]: value}
        elif isinstance(value, dict):
            yield where, value
        else:
            also = " or a string" if fields.bare else ""
            raise InvalidInputError(f"{where} must be a JSON object{also}, not {shown(value)}; {MEND}")


def _plain(path: Path, fields: Fields) -> Iterator[tuple[str, dict[str, Any]]]:
    """One text a line, unless the lines are those of another format."""
    first = True
    for number, line in text_lines(path):
        query = line.strip()
        if not query:
            continue
        where = f"{path}:{number}"
        if "\t" in query:
            raise InvalidInputError(
                f"{where} has a tab: {shown(query)}; name a table .tsv, and put spaces for tabs where a line is one query"
            )
        if OBJECT.match(query) or (query.startswith("[") and _is_json(query)):
            raise InvalidInputError(f"{where} looks like JSON: {shown(query)}; name JSON lines .jsonl, one JSON value .json")
        if first and tables.is_header(query, fields):
            raise InvalidInputError(f"{where} looks like the header of a table: {shown(query)}; name the file .csv or .tsv")
        first = False
        yield where, {fields.texts[0]: query}


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _json(path: Path, fields: Fields) -> Iterator[tuple[str, dict[str, Any]]]:
    """A `.json` file: a list, an object of id to text, one row, or JSON lines under a wrong name."""
    lines = byte_lines(path)
    head: list[bytes] = []
    full: list[bytes] = []
    for line in lines:
        head.append(line)
        if (filled := line.removeprefix(codecs.BOM_UTF8)).strip():
            full.append(filled)
        if len(full) == 2:
            break
    # A value that is whole on its line, with more below, is not all there is.
    if len(full) == 2 and full[0].lstrip()[:1] in (b"{", b'"') and _is_json(full[0].decode("utf-8", "replace")):
        yield from _rows(values(chain(head, lines), path), fields)
        return
    content = bytearray().join(head)
    for line in lines:
        content += line
        if len(content) > WHOLE:
            raise InvalidInputError(f"{path} has more than {WHOLE:,} bytes; write it as JSON lines, and name it .jsonl")
    try:
        whole = content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise InvalidInputError(f"{path}:{number} is not UTF-8: {error}; save the file as UTF-8") from error
    if whole.strip():
        listed = whole.lstrip()[0] == "["
        yield from _rows(_listed(whole, path) if listed else _keyed(whole, path, fields), fields)


def _listed(whole: str, path: Path) -> Iterator[tuple[str, Any]]:
    for where, _, value in _members(whole, path, "[", "]"):
        yield where, value


def _keyed(whole: str, path: Path, fields: Fields) -> Iterator[tuple[str, Any]]:
    members = [*_members(whole, path, "{", "}")]
    row = {key: value for _, key, value in members}
    if len(row) < len(members):
        raise InvalidInputError(f"{path} has a name twice among {shown([key for _, key, _ in members])}; rename or take out one")
    if row and not row.keys().isdisjoint(fields.texts):
        if not row.keys() <= fields.known:
            raise InvalidInputError(
                f"{members[0][0]} may be one {fields.what}, or {len(row)} by their ids {shown([*row])}; write a list of objects"
            )
        yield members[0][0], row
        return
    for where, key, value in members:
        if isinstance(value, str):
            yield where, {fields.ids[0]: key, fields.texts[0]: value}
        elif isinstance(value, dict) and value.keys().isdisjoint(fields.ids):
            yield where, {**value, fields.ids[0]: key}
        else:
            raise InvalidInputError(
                f"{where} needs a text, or an object with one and no other id, under {shown(key)}, not {shown(value)}; "
                f"write a list of objects, or an object of ids and texts"
            )


def _members(whole: str, path: Path, start: str, stop: str) -> Iterator[tuple[str, str, Any]]:
    """The members of the list or object that a text is: the place of each, its name, and its value."""
    decoder = json.JSONDecoder(object_pairs_hook=_once)
    number, counted = 1, 0

    def after(position: int) -> int:
        space = SPACE.match(whole, position)
        return space.end() if space else position

    def expect(position: int, *marks: str) -> str:
        mark = whole[position : position + 1]
        if mark not in marks or not mark:
            raise json.JSONDecodeError(f"Expecting {' or '.join(map(repr, marks))}", whole, position)
        return mark

    try:
        position = after(0)
        expect(position, start)
        position = after(position + 1)
        open_ = whole[position : position + 1] != stop
        while open_:
            number, counted = number + whole.count("\n", counted, position), position
            key = ""
            if start == "{":
                expect(position, '"')
                key, position = decoder.raw_decode(whole, position)
                position = after(position)
                expect(position, ":")
                position = after(position + 1)
            value, position = decoder.raw_decode(whole, position)
            yield f"{path}:{number}", key, value
            position = after(position)
            open_ = expect(position, ",", stop) == ","
            position = after(position + 1) if open_ else position
        if after(position + 1) < len(whole):
            raise json.JSONDecodeError("Extra data", whole, after(position + 1))
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"{path}:{error.lineno} is not JSON: {error}; mend it, or name JSON lines .jsonl") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path}:{number} is not JSON: {error}; mend it") from error
