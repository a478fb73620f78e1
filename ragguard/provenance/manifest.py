"""What stands in a manifest: JSON lines, each in its only form. Changes, then the head of the generation that they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from ragguard.errors import ManifestError
from ragguard.provenance.canonical import digest, dumped
from ragguard.provenance.corpus import File

FORMAT = 1
START = "0" * 64
"""What the first generation follows."""

Hash: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count: TypeAlias = Annotated[int, Field(ge=0, lt=1 << 53)]
Setting: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True)
class Entry:
    """A document as it was recorded.

    Attributes:
        id: Of the document.
        content: Hash of its line as JSON: title, text and metadata.
        source: Who it is from; None if nobody said.
        batch: What it came with.
        principal: Who brought it in; None if nobody said.
    """

    id: Annotated[str, Field(min_length=1)]
    content: Hash
    source: str | None
    batch: str
    principal: str | None

    @property
    def hash(self) -> str:
        """Of all that is recorded of the document."""
        return digest("document", dumped(vars(self)))


@dataclass(frozen=True)
class Removed:
    """A document is no longer there.

    Attributes:
        remove: Its id.
    """

    remove: str


@dataclass(frozen=True)
class Added:
    """A document is there from now on. A changed or moved one is first removed.

    Attributes:
        add: What is recorded of it.
        place: Its number in the corpus of this generation, from 0; the documents that stay keep their order around it.
    """

    add: Entry
    place: Count


@dataclass(frozen=True)
class Head:
    """What a generation is.

    Attributes:
        format: Of the manifest.
        generation: Its number, from 1.
        previous: Hash of the head before it.
        time: When it was recorded, as the machine that did says: UTC, ISO 8601.
        changes: Hash of the lines between the head before it and this one.
        documents: How many there are.
        corpus: Hash of all that is recorded of all of them, in their order.
        files: Where they stand.
        encoder: Fingerprint of the model that they are judged with; None if nobody said.
        settings: Whatever else the corpus is used with.
    """

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)]
    generation: Annotated[int, Field(ge=1)]
    previous: Hash
    time: str
    changes: Hash
    documents: Count
    corpus: Hash
    files: tuple[File, ...]
    encoder: str | None
    settings: dict[str, Setting]

    @property
    def hash(self) -> str:
        """Of the head, and by it of all generations up to this one."""
        return digest("head", dumped(_HEAD.dump_python(self)))


@dataclass(frozen=True)
class Signature:
    """By whom a head is signed.

    Attributes:
        key: The Ed25519 public key, in hexadecimal.
        value: The signature of the head's hash, in hexadecimal.
    """

    key: Hash
    value: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


@dataclass(frozen=True)
class Sealed:
    """The last line of a generation.

    Attributes:
        head: What the generation is.
        hash: Of the head; what one remembers to tell an older manifest by.
        signature: None if nobody signed.
    """

    head: Head
    hash: Hash
    signature: Signature | None


Record: TypeAlias = Removed | Added | Sealed
_HEAD: TypeAdapter[Head] = TypeAdapter(Head)
_RECORD: TypeAdapter[Record] = TypeAdapter(Record)


def written(record: Record) -> bytes:
    """The only form of a line."""
    return dumped(_RECORD.dump_python(record)) + b"\n"


def parsed(line: bytes, place: str) -> Record:
    """Read a line.

    Args:
        line: With its end.
        place: File and number of the line, for messages.

    Raises:
        ManifestError: If it is not exactly what `written` writes.
    """
    try:
        record: Record | None = _RECORD.validate_json(line, strict=True)
    except ValidationError:
        record = None
    if record is None or written(record) != line:
        raise ManifestError(f"{place} is not what a manifest has: it was damaged or changed; take the manifest from a backup")
    return record
