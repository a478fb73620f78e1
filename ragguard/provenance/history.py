"""A manifest from its first line to its last: every hash, link and signature is checked on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ragguard.errors import InvalidInputError, ManifestError
from ragguard.provenance import keys
from ragguard.provenance.canonical import domain
from ragguard.provenance.corpus import LONGEST
from ragguard.provenance.ledger import Ledger, hash_of
from ragguard.provenance.manifest import START, Added, Removed, Sealed, parsed


@dataclass(frozen=True)
class Expected:
    """What a manifest must be.

    Attributes:
        keys: Public keys, in hexadecimal: every generation must be signed with one of them. With none, signatures are checked
            where there are some, and whose they are is not.
        generation: The least that the last generation may be.
        head: Hash of a head that one remembers: the last generation must be it, or follow it.
    """

    keys: Collection[str] = ()
    generation: int = 1
    head: str | None = None


def replay(path: Path, ledger: Ledger, expected: Expected | None = None) -> tuple[Sealed, ...]:
    """Read a manifest into an empty ledger.

    Args:
        path: Of the manifest.
        ledger: Has the documents of the last generation then.
        expected: What else it must be; None asks for nothing.

    Returns:
        The last line of each generation.

    Raises:
        ManifestError: If the manifest is damaged, forged or not what is expected; the message names the line.
        InvalidInputError: If it cannot be read, or it is signed and cryptography is not installed.
    """
    history: list[Sealed] = []
    changes, adding, place = hashlib.sha256(domain("changes")), False, f"{path}:1"
    for place, line in _lines(path):
        record = parsed(line, place)
        try:
            if isinstance(record, Removed):
                if adding:
                    raise ManifestError("removes a document after others were added")
                ledger.remove(record.remove)
            elif isinstance(record, Added):
                adding = True
                ledger.add(record.add, record.place)
            else:
                ledger.settle()
                _check(record, history, changes.hexdigest(), ledger.count)
                history.append(record)
                changes, adding = hashlib.sha256(domain("changes")), False
                continue
            changes.update(line)
        except ManifestError as error:
            raise ManifestError(f"{place}: the generation {error}; take the manifest from a backup") from error
    if not history or changes.hexdigest() != hashlib.sha256(domain("changes")).hexdigest():
        raise ManifestError(f"{place}: the manifest was cut off here; take it from a backup")
    if hash_of(ledger.entries()) != history[-1].head.corpus:
        raise ManifestError(f"{path}: the last generation does not add up to its corpus hash; take the manifest from a backup")
    _meet(path, history, expected or Expected())
    return tuple(history)


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(LONGEST):
                number += 1
                yield f"{path}:{number}", line
    except OSError as error:
        raise InvalidInputError(f"the manifest {path} cannot be read: {error.strerror}") from error


def _check(sealed: Sealed, before: list[Sealed], changes: str, documents: int) -> None:
    head, last = sealed.head, before[-1] if before else None
    if head.hash != sealed.hash:
        raise ManifestError("is not what its hash says")
    if head.previous != (last.hash if last else START) or head.generation != len(before) + 1:
        raise ManifestError(f"does not follow generation {len(before)}")
    if (head.changes, head.documents) != (changes, documents):
        raise ManifestError("is not what its changes make")
    if last and (sealed.signature is None) != (last.signature is None):
        raise ManifestError("is signed and an earlier one is not, or the other way round")
    if sealed.signature and not keys.is_signed(sealed.hash, sealed.signature.key, sealed.signature.value):
        raise ManifestError("has a wrong signature")


def _meet(path: Path, history: list[Sealed], expected: Expected) -> None:
    last = history[-1].head.generation
    if expected.keys:
        for sealed in history:
            if sealed.signature is None:
                raise ManifestError(f"{path} is not signed, and a signature is required; get the signed manifest")
            if sealed.signature.key not in expected.keys:
                raise ManifestError(
                    f"{path}: generation {sealed.head.generation} is signed with another key, {sealed.signature.key}; "
                    "it is forged, or that key must be named, too"
                )
    if last < expected.generation:
        raise ManifestError(f"{path} ends with generation {last}, not {expected.generation} or later: it was rolled back")
    if expected.head is not None and expected.head not in {sealed.hash for sealed in history}:
        raise ManifestError(f"{path} does not have the head {expected.head:.64}: it was rolled back, or written anew")
