"""An audit log: a file that only grows, one record a line, in which what is missing is seen."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ragguard.audit.record import Record, record
from ragguard.errors import InvalidInputError, StoreError
from ragguard.retriever import Decision

BINARY: int = getattr(os, "O_BINARY", 0)
"""Windows, which knows it, would write other line ends."""


class AuditLog:
    """An observer that writes down every decision.

    A line is one JSON object (`Record`), appended by one write, so that processes may share a file, and a tool that rotates
    logs may move it away. Records name the one before of the same log object by its digest. They are handed to the operating
    system, not forced onto the disk. Give an `AuditLog` to one `Observers` only: that counts, and calls it from one thread.
    """

    def __init__(self, path: Path | str, *, texts: bool = False) -> None:
        """Make the file if there is none, readable by its owner only.

        Args:
            path: Of the file.
            texts: Record queries, candidates' texts and errors, too. Then a record can be judged again without the corpus.

        Raises:
            InvalidInputError: If the file cannot be written.
        """
        self._path, self._texts = Path(path), texts
        self._process = -1
        try:
            self._append(b"")
        except OSError as error:
            raise InvalidInputError(f"the audit log {path} cannot be written: {error}") from error

    def __call__(self, decision: Decision) -> None:
        """Write its record.

        Raises:
            StoreError: If it cannot be written; the next record tells that one is missing.
        """
        if self._process != os.getpid():
            self._process, self._writer, self._previous = os.getpid(), secrets.token_hex(8), ""
        line, name = record(decision, self._writer, self._previous, self._texts).line()
        try:
            self._append(line)
        except OSError as error:
            raise StoreError(f"the audit log {self._path} cannot be written: {error}") from error
        self._previous = name

    def _append(self, line: bytes) -> None:
        file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | BINARY, 0o600)
        try:
            if line and _last(file) not in (b"", b"\n"):
                line = b"\n" + line  # a crash or a full disk left half a line, or another process is at one
            if os.write(file, line) != len(line):
                raise OSError("it took half a line; the disk may be full")
        finally:
            os.close(file)


def _last(file: int) -> bytes:
    """The last byte; nothing of what has none, such as a pipe."""
    size = os.fstat(file).st_size
    if not size:
        return b""
    os.lseek(file, size - 1, os.SEEK_SET)  # no pread, which Windows lacks; what is written goes to the end all the same
    return os.read(file, 1)


@dataclass(frozen=True)
class Flaw:
    """Something that is not as it was written.

    Attributes:
        kind: `damaged`: a line is no record, or not the one that was written. `missing`: records that were written are not there.
            `lost`: decisions were never written: an observer too slow, or a full disk; seen once a later one was.
        place: File and line.
        what: What is wrong there, in a sentence for people.
    """

    kind: Literal["damaged", "missing", "lost"]
    place: str
    what: str


def read(paths: Sequence[Path | str]) -> Iterator[Record | Flaw]:
    """Records in the order of the files, and what is wrong with them.

    Records taken from the end of a writer's, or all of them, are not missed: keep the last digest elsewhere, or send lines to
    another machine.

    Args:
        paths: One log, or what a rotating tool made of it, oldest first.

    Raises:
        InvalidInputError: If a file cannot be read.
    """
    last: dict[str, tuple[int, str]] = {}
    for path in paths:
        try:
            with Path(path).open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    place = f"{path}:{number}"
                    if line == b"\n":  # of a process that came while another wrote
                        continue
                    try:
                        entry = Record.of(line)
                    except ValueError as error:
                        yield Flaw("damaged", place, str(error))
                        continue
                    yield from _gaps(entry, *last.get(entry.writer, (0, "")), place)
                    last[entry.writer] = entry.number, entry.digest
                    yield entry
        except OSError as error:
            raise InvalidInputError(f"the audit log {path} cannot be read: {error}") from error


def _gaps(entry: Record, number: int, last: str, place: str) -> Iterator[Flaw]:
    if entry.previous != last:
        what = f"records of writer {entry.writer} before its {entry.number} are damaged, or not in these files"
        yield Flaw("missing", place, what)
    elif entry.number != number + 1:
        yield Flaw("lost", place, f"writer {entry.writer} was not told, or could not write, {number + 1} to {entry.number - 1}")
