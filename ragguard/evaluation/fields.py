"""What a row of a file says under which name: id, text, title and metadata, each of its type or refused with file and line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ragguard.errors import InvalidInputError

SHOWN = 100
"""Characters of a bad value that a message shows: a line of a terminal or so, and enough to find it."""

MEND = "mend the line, or take it out"
"""What to do about a line that cannot be read."""


@dataclass(frozen=True)
class Fields:
    """Under which names the rows of a kind of file have what is read of them.

    Attributes:
        what: What a row holds, for messages.
        ids: Names of the id; where the first is there, others do not count.
        texts: Names of the text.
        main: The name of the text beside which others do not count; None lets no two names have different texts.
        bare: Whether a row may be a text alone, and a table do without a header.
    """

    what: str
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    main: str | None
    bare: bool

    @cached_property
    def known(self) -> frozenset[str]:
        """All names that have a meaning."""
        return frozenset((*self.ids, *self.texts, "title", "metadata"))


QUERY = Fields("query", ("_id", "id", "query_id", "qid"), ("text", "query"), None, bare=True)
"""BEIR's names, and those of MS MARCO, TREC and plain exports. A row with `query` and another `text` is of no use: training data
has the passage under `text`, and a log may have either there."""

DOCUMENT = Fields("document", ("_id", "id", "doc_id", "docid"), ("text", "contents", "content"), "text", bare=False)
"""BEIR's names, and those of Anserini (`id`, `contents`), TREC and plain exports."""


def shown(value: object) -> str:
    """A value as a message shows it: on one line, and cut."""
    text = repr(value[: SHOWN + 1] if isinstance(value, str) else value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def identifier(where: str, row: Mapping[str, Any], names: Sequence[str], unnamed: str | None = None) -> str:
    """The id of a row; a whole number is taken as its digits.

    Args:
        where: File and line; begins the message.
        row: The row.
        names: Under which it may stand.
        unnamed: Stands for it where the row has none.

    Raises:
        InvalidInputError: If there is none, or it is neither printable text nor a whole number, or two names have different ids.
    """
    name = _name(where, row, names, names[0])
    value = row.get(name)
    if value is None and unnamed is not None:
        return unnamed
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise InvalidInputError(f"{where} needs a string under {name!r}, not {shown(value)}; {MEND}")
    if not value.strip() or not value.isprintable():
        raise InvalidInputError(f"{where} needs printable characters under {name!r}, not {shown(value)}; {MEND}")
    return value


def text(where: str, row: Mapping[str, Any], fields: Fields) -> str:
    """The text of a row, which may be empty.

    Raises:
        InvalidInputError: If there is none, it is no string, or two names have different ones.
    """
    name = _name(where, row, fields.texts, fields.main)
    value = row.get(name)
    if not isinstance(value, str):
        also = " or ".join(map(repr, fields.texts[1:]))
        raise InvalidInputError(f"{where} needs a string under {name!r}, not {shown(value)}; {MEND} ({also} may name it, too)")
    return value


def string(where: str, row: Mapping[str, Any], name: str) -> str:
    """A string that must be there.

    Raises:
        InvalidInputError: If it is not there, or of another type.
    """
    value = row.get(name)
    if not isinstance(value, str):
        raise InvalidInputError(f"{where} needs a string under {name!r}, not {shown(value)}; {MEND}")
    return value


def title(where: str, row: Mapping[str, Any]) -> str:
    """The title of a row; empty where it has none, or null.

    Raises:
        InvalidInputError: If it is of another type.
    """
    return "" if row.get("title") is None else string(where, row, "title")


def metadata(where: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a row; empty where it has none, or null.

    Raises:
        InvalidInputError: If it is no object.
    """
    value = row.get("metadata")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInputError(f"{where} needs an object under 'metadata', not {shown(value)}; {MEND}")
    return value


def _name(where: str, row: Mapping[str, Any], names: Sequence[str], main: str | None) -> str:
    """The name of several under which a row has something; the first of all where it has nothing."""
    there = [name for name in names if row.get(name) is not None]
    if main in there and main is not None:
        return main
    if len({repr(row[name]) for name in there}) > 1:
        raise InvalidInputError(f"{where} has different values under {' and '.join(map(repr, there))}; leave the right one")
    return there[0] if there else next((name for name in names if name in row), names[0])
