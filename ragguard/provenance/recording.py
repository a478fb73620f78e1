"""Recording a corpus: a further generation of its manifest, or the first."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ragguard.errors import InvalidInputError, ManifestError
from ragguard.evaluation.files import whole
from ragguard.provenance import corpus, keys
from ragguard.provenance.canonical import domain
from ragguard.provenance.corpus import File
from ragguard.provenance.history import Expected, replay
from ragguard.provenance.ledger import Ledger, hash_of
from ragguard.provenance.manifest import FORMAT, START, Added, Entry, Head, Removed, Sealed, Setting, Signature, written
from ragguard.provenance.undone import finish
from ragguard.types import Document

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

EVERY = 1000
"""Documents between two signs of life."""


@dataclass(frozen=True)
class Provenance:
    """Where documents are from, as whoever ingests them knows it.

    What is None is taken from the metadata of a document, under the same name, for corpora whose metadata the ingesting side
    writes. Nothing is read from a text.

    Attributes:
        source: Who they are from.
        batch: What they came with; where the metadata has none, either, `generation-` and the number.
        principal: Who brings them in.
    """

    source: str | None = None
    batch: str | None = None
    principal: str | None = None

    def entry(self, document: Document, content: str, generation: int) -> Entry:
        """What is recorded of a document.

        Raises:
            InvalidInputError: If something is not printable, or empty.
        """
        source, batch, principal = (
            getattr(self, name) or corpus.metadata_text(document, name) for name in ("source", "batch", "principal")
        )
        for value in (source, batch, principal):
            if value is not None and not (value and value.isprintable()):
                raise InvalidInputError(f"document {document.id!r}: provenance must be printable characters, not {value!r:.100}")
        return Entry(document.id, content, source, batch or f"generation-{generation}", principal)


@dataclass(frozen=True)
class Recorded:
    """What a recording did.

    Attributes:
        generation: The last one now.
        head: Hash of its head; remember it where the manifest cannot be changed with it.
        new: Whether this recording made it; a corpus that is as it was makes none.
        added: How many documents are new, changed or moved.
        removed: How many are gone, changed or moved.
        documents: How many there are.
        key: The public key that it is signed with, in hexadecimal; None if it is not.
    """

    generation: int
    head: str
    new: bool
    added: int
    removed: int
    documents: int
    key: str | None


def record(
    manifest: Path,
    sources: Sequence[Path],
    provenance: Provenance | None = None,
    *,
    encoder: str | None = None,
    settings: Mapping[str, Setting] | None = None,
    key: Ed25519PrivateKey | None = None,
    trusted: Collection[str] = (),
    step: Callable[[int], None] = lambda _: None,
) -> Recorded:
    """Append a generation to a manifest, or make the manifest. One process at a time may write one.

    Documents that are as they were keep the provenance that was recorded of them first.

    Args:
        manifest: Its file; an interruption leaves it as it was.
        sources: Files of JSON lines, or folders with `corpus.jsonl`. Every document needs an `_id`.
        provenance: Of what is new; None takes it from the metadata.
        encoder: Fingerprint of the model that the corpus is used with; None leaves it as it was.
        settings: What else it is used with; None leaves them as they were.
        key: Signs. A manifest is signed from its first generation on, or not at all.
        trusted: Other public keys, in hexadecimal, that earlier generations may be signed with.
        step: Called every thousand documents with how many were read.

    Raises:
        InvalidInputError: If a file cannot be read, a document has no id, or an id is there twice.
        ManifestError: If the manifest is damaged, forged, or signed with no trusted key.
    """
    finish(manifest)
    with Ledger() as ledger:
        history = replay(manifest, ledger, trust(key, trusted)) if manifest.exists() else ()
        if history and history[-1].signature and key is None:
            raise ManifestError(f"{manifest} is signed; give the key to sign this generation, too")
        attribution, generation = provenance or Provenance(), len(history) + 1
        done: list[File] = []
        for line in corpus.lines(corpus.files(sources), done):
            document, content = line.read()
            if not ledger.find(attribution.entry(document, content, generation), line.place):
                raise InvalidInputError(f"{line.place} has the id {document.id!r}, which an earlier line has; give it another")
            if ledger.found % EVERY == 0:
                step(ledger.found)
        added = removed = 0
        for difference in ledger.differences():
            added += difference.kind != "missing"
            removed += difference.kind != "added"
        last = history[-1].head if history else None
        used = encoder if encoder is not None or not last else last.encoder
        uses = dict(settings if settings is not None else last.settings if last else {})
        if last and not added and not removed and (tuple(done), used, uses) == (last.files, last.encoder, last.settings):
            sealed, new = history[-1], False
        else:
            with whole(manifest) as file:
                sealed, new = append(file, manifest, history, ledger, done, used, uses, key), True
        return Recorded(
            sealed.head.generation,
            sealed.hash,
            new,
            added,
            removed,
            sealed.head.documents,
            sealed.signature.key if sealed.signature else None,
        )


def append(
    file: BinaryIO,
    manifest: Path,
    history: Sequence[Sealed],
    ledger: Ledger,
    files: Sequence[File],
    encoder: str | None,
    settings: Mapping[str, Setting],
    key: Ed25519PrivateKey | None,
) -> Sealed:
    """Write a manifest with one more generation: what was found in a ledger whose differences were asked for.

    Args:
        file: Where to.
        manifest: The one before.
        history: Its generations.
        ledger: What it has, and what was found.
        files: In which.
        encoder: Of the head.
        settings: Of the head.
        key: Signs; None does not.
    """
    if history:
        with manifest.open("rb") as before:
            shutil.copyfileobj(before, file)
    seen = hashlib.sha256(domain("changes"))
    for change in _changes(ledger):
        line = written(change)
        seen.update(line)
        file.write(line)
    head = Head(
        format=FORMAT,
        generation=len(history) + 1,
        previous=history[-1].hash if history else START,
        time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        changes=seen.hexdigest(),
        documents=ledger.found,
        corpus=hash_of(ledger.found_entries()),
        files=tuple(files),
        encoder=encoder,
        settings=dict(settings),
    )
    signature = Signature(keys.public_key(key), keys.sign(key, head.hash)) if key else None
    sealed = Sealed(head, head.hash, signature)
    file.write(written(sealed))
    return sealed


def _changes(ledger: Ledger) -> Iterable[Removed | Added]:
    for document in ledger.removals():
        yield Removed(document)
    for entry, place in ledger.additions():
        yield Added(entry, place)


def trust(key: Ed25519PrivateKey | None, trusted: Collection[str]) -> Expected:
    """What a manifest must be for somebody to add a generation to it: nobody signs for what another may have forged."""
    return Expected(keys={*trusted, *([keys.public_key(key)] if key else [])})
