"""Corpora as files: JSON lines with `_id` and `text`, read in a stream, and the hash of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ragguard.errors import InvalidInputError
from ragguard.evaluation import datasets
from ragguard.provenance.canonical import digest, dumped
from ragguard.types import Document

LONGEST = 1 << 26
"""Bytes of a line, at most: what fills the memory is no document."""


@dataclass(frozen=True)
class File:
    """A file of a corpus.

    Attributes:
        name: Without its folder.
        sha256: Of its bytes, in hexadecimal.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class Line:
    """One line of a corpus, not yet looked at.

    Attributes:
        path: Of the file.
        number: Of the line, from 1.
        raw: Its bytes, with the end of the line.
    """

    path: Path
    number: int
    raw: bytes

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.path}:{self.number}"

    def read(self) -> tuple[Document, str]:
        """The document of the line, and the hash of all that stands in it: title, text and metadata.

        Raises:
            InvalidInputError: If the line is no JSON object with `_id` and `text`; the message names file and line.
        """
        [(place, row)] = datasets.rows([self.raw], self.path, self.number)
        document = datasets.document(place, row)
        try:
            return document, digest("content", dumped(row))
        except RecursionError as error:
            raise InvalidInputError(f"{place} is nested too deeply; mend the line, or take it out") from error


def files(sources: Sequence[Path]) -> tuple[Path, ...]:
    """The files of a corpus: each source, or `corpus.jsonl` in it (BEIR layout) where it is a folder.

    Raises:
        InvalidInputError: If one is not there, or the same as another.
    """
    paths = tuple(source / "corpus.jsonl" if source.is_dir() else source for source in sources)
    for path in paths:
        if not path.is_file():
            raise InvalidInputError(f"there is no file {path}; name files of JSON lines, or folders with corpus.jsonl")
    if len({path.resolve() for path in paths}) < len(paths):
        raise InvalidInputError("a file is named twice; name each once")
    return paths


def lines(paths: Sequence[Path], done: list[File] | None = None) -> Iterator[Line]:
    """The lines of files that are not empty, in order.

    Args:
        paths: As `files` gives them.
        done: Takes up each file when it was read to its end.

    Raises:
        InvalidInputError: If a file cannot be read, or a line is longer than 64 MB.
    """
    for path in paths:
        seen, number = hashlib.sha256(), 0
        try:
            with path.open("rb") as file:
                while raw := file.readline(LONGEST + 1):
                    seen.update(raw)
                    number += 1
                    if len(raw) > LONGEST:
                        raise InvalidInputError(f"{path}:{number} has more than {LONGEST:,} bytes; split or take out that line")
                    if raw.strip():
                        yield Line(path, number, raw)
        except OSError as error:
            raise InvalidInputError(f"{path} cannot be read: {error}") from error
        if done is not None:
            done.append(File(path.name, seen.hexdigest()))


def metadata_text(document: Document, name: str) -> str | None:
    """What a document's metadata says under a name, as text; None where it says nothing."""
    value = document.metadata.get(name)
    return None if value is None else str(value)
