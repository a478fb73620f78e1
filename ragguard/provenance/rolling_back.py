"""Taking a batch out of a corpus: a further generation of the manifest without it, and a file of what was taken out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ragguard.errors import InvalidInputError, ManifestError
from ragguard.evaluation.files import whole
from ragguard.provenance import corpus
from ragguard.provenance.corpus import File
from ragguard.provenance.history import replay
from ragguard.provenance.ledger import Ledger
from ragguard.provenance.manifest import Sealed
from ragguard.provenance.recording import append, trust
from ragguard.provenance.undone import finish, journal, ready, replace_all

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NAMED = 10
"""Batches that a message has."""


@dataclass(frozen=True)
class RolledBack:
    """What was taken out, or would be.

    Attributes:
        batch: Its name.
        documents: Ids of what it had, in order: to be deleted from indexes and vector stores, too.
        left: How many documents stay.
        removed: The file of what was taken out, as it was, line by line.
        generation: The manifest's last; one more, unless nothing was done.
        head: Hash of its head.
        done: Whether anything was written; not by a dry run.
        finished: Whether an earlier rollback, which was interrupted, was ended first.
    """

    batch: str
    documents: tuple[str, ...]
    left: int
    removed: str
    generation: int
    head: str
    done: bool
    finished: bool


def rollback(
    manifest: Path,
    sources: Sequence[Path],
    batch: str,
    *,
    removed: Path | None = None,
    key: Ed25519PrivateKey | None = None,
    trusted: Collection[str] = (),
    dry_run: bool = False,
) -> RolledBack:
    """Take all documents of a batch out of the files of a corpus.

    All files change, or none. What was interrupted in between is ended by the next call.

    Args:
        manifest: Which documents are of the batch is read from it, never from the files. It gets a further generation.
        sources: The files, which must be as recorded.
        batch: What to take out.
        removed: The file of what is taken out, which must not be there yet; None names it after manifest and generation.
        key: Signs the generation.
        trusted: Other public keys, in hexadecimal, that earlier generations may be signed with.
        dry_run: Only say what would be done.

    Raises:
        InvalidInputError: If there is no such batch, a file cannot be read, or one of what is removed is there.
        ManifestError: If the files are not as recorded, or the manifest is damaged, forged, or signed with no trusted key.
    """
    if dry_run and journal(manifest).exists():
        raise InvalidInputError("a rollback was interrupted; run it again without --dry-run, which ends it")
    finished = finish(manifest)
    with Ledger() as ledger, ExitStack() as stack:
        history = replay(manifest, ledger, trust(key, trusted))
        if history[-1].signature and not (key or dry_run):
            raise ManifestError(f"{manifest} is signed; give the key to sign the generation without the batch")
        gone = tuple(entry.id for entry in ledger.entries(batch))
        aside = removed or manifest.with_name(f"{manifest.stem}.removed-{len(history) + 1}.jsonl")
        if not gone and finished:
            return RolledBack(batch, (), ledger.count, "", len(history), history[-1].hash, True, True)
        if not gone:
            known = ", ".join(map(repr, islice(ledger.batches(), NAMED)))
            raise InvalidInputError(f"there is no batch {batch!r}; among those that are: {known or 'none'}")
        if aside.exists():
            raise InvalidInputError(f"{aside} is there already; name another file for what is taken out")
        paths = corpus.files(sources)
        places = (*paths, aside, manifest)
        for place in places:
            stack.callback(ready(place).unlink, missing_ok=True)
        left = _parted(ledger, history[-1], batch, paths, aside, dry_run)
        sealed = history[-1]
        if not dry_run:
            with whole(ready(manifest)) as file:
                sealed = append(file, manifest, history, ledger, left, sealed.head.encoder, sealed.head.settings, key)
            stack.pop_all()  # from here on nothing is given up
            replace_all(manifest, places)
        return RolledBack(batch, gone, ledger.found, str(aside), sealed.head.generation, sealed.hash, not dry_run, finished)


def _parted(ledger: Ledger, last: Sealed, batch: str, paths: Sequence[Path], removed: Path, dry_run: bool) -> list[File]:
    """Write what stays and what is taken out; the files of what stays."""
    before: list[File] = []
    left: list[File] = []
    gone = 0
    with _out(ready(removed), dry_run) as aside:
        for path in paths:
            seen = hashlib.sha256()
            with _out(ready(path), dry_run) as stay:
                for line in corpus.lines([path], before):
                    document, content = line.read()
                    entry = ledger.entry(document.id)
                    if entry is None or entry.content != content:
                        raise _differs(line.place)
                    if entry.batch == batch:
                        aside.write(line.raw.rstrip(b"\r\n") + b"\n")
                        gone += 1
                        continue
                    if not ledger.find(entry, line.place):
                        raise _differs(line.place)
                    stay.write(line.raw)
                    seen.update(line.raw)
            left.append(File(path.name, seen.hexdigest()))
    if tuple(before) != last.head.files or gone + ledger.found != ledger.count:
        raise _differs(str(paths[0]))
    if any(difference.kind != "missing" for difference in ledger.differences()):
        raise _differs(str(paths[0]))
    return left


def _out(path: Path, dry_run: bool) -> AbstractContextManager[BinaryIO]:
    return open(os.devnull, "wb") if dry_run else whole(path)


def _differs(place: str) -> ManifestError:
    return ManifestError(
        f"{place}: the corpus is not as recorded; see ragguard verify, restore it or record it, and then roll back"
    )
