"""Verifying a corpus against its manifest: what differs, and which document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from ragguard.errors import InvalidInputError, ManifestError
from ragguard.provenance import corpus
from ragguard.provenance.corpus import File
from ragguard.provenance.history import Expected, replay
from ragguard.provenance.ledger import Difference, Ledger
from ragguard.provenance.manifest import Entry, Head, Sealed, Setting
from ragguard.provenance.undone import journal

TOLD = 1000
"""Findings that a report has; all are told while it is made."""

EVERY = 1000
"""Documents between two signs of life."""

Kind: TypeAlias = Difference | Literal["twice", "unreadable", "bytes", "manifest", "settings", "unfinished"]
"""`bytes`: every document reads as recorded, and the file is not the same. `unfinished`: a rollback was interrupted."""

WHAT: Mapping[Difference, str] = {
    "added": "is in no generation",
    "changed": "its text, title or metadata is not what was recorded",
    "moved": "stands at another place than recorded",
    "missing": "was recorded, and is in no file",
}


@dataclass(frozen=True)
class Finding:
    """Something that is not as recorded.

    Attributes:
        kind: What it is about, see `Kind`.
        document: Id of the document; empty where it is about no single one, or its line cannot be read.
        place: File and line in the corpus; empty where there is none.
        what: How it differs, in a sentence for people.
    """

    kind: Kind
    document: str
    place: str
    what: str


@dataclass(frozen=True)
class Verification:
    """What verifying found.

    Attributes:
        ok: Whether everything is as recorded.
        findings: The first thousand of what is not.
        found: How many there are.
        documents: How many were read.
        generation: The last of the manifest; 0 if it cannot be read.
        head: Hash of the head; empty likewise.
        key: The public key that it is signed with, in hexadecimal; None if it is not.
    """

    ok: bool
    findings: tuple[Finding, ...]
    found: int
    documents: int
    generation: int
    head: str
    key: str | None


def verify(
    manifest: Path,
    sources: Sequence[Path],
    expected: Expected | None = None,
    *,
    encoder: str | None = None,
    settings: Mapping[str, Setting] | None = None,
    told: Callable[[Finding], None] = lambda _: None,
    step: Callable[[int], None] = lambda _: None,
) -> Verification:
    """Compare files with the last generation of a manifest; changes nothing.

    Args:
        manifest: Its file.
        sources: Files of JSON lines, or folders with `corpus.jsonl`.
        expected: Who must have signed the manifest, and how new it must be; None asks for neither.
        encoder: Fingerprint of the model that must have been recorded; None asks for none.
        settings: That must have been recorded; None asks for none.
        told: Called with each finding.
        step: Called every thousand documents with how many were read.

    Raises:
        InvalidInputError: If a file is not there, or the manifest is signed and cryptography is not installed.
    """
    paths = corpus.files(sources)
    findings: list[Finding] = []
    count = 0
    last: Sealed | None = None
    with Ledger() as ledger:
        try:
            last = replay(manifest, ledger, expected)[-1]
            looked = _findings(manifest, paths, last.head, ledger, encoder, settings, step)
        except ManifestError as error:
            looked = iter([Finding("manifest", "", "", str(error))])
        for finding in looked:
            count += 1
            findings.extend([finding] if count <= TOLD else [])
            told(finding)
        return Verification(not count, tuple(findings), count, ledger.found, *_named(last))


def _named(last: Sealed | None) -> tuple[int, str, str | None]:
    if last is None:
        return 0, "", None
    return last.head.generation, last.hash, last.signature.key if last.signature else None


def _findings(
    manifest: Path,
    paths: Sequence[Path],
    head: Head,
    ledger: Ledger,
    encoder: str | None,
    settings: Mapping[str, Setting] | None,
    step: Callable[[int], None],
) -> Iterator[Finding]:
    if (undone := journal(manifest)).exists():
        yield Finding("unfinished", "", str(undone), "a rollback was interrupted: run ragguard rollback again, which ends it")
    if encoder not in (None, head.encoder):
        yield Finding("settings", "", "", f"the encoder is {encoder}, recorded is {head.encoder or 'none'}")
    current = head.settings if settings is None else settings
    for name in sorted({*current, *head.settings}):
        now, then = current.get(name), head.settings.get(name)
        if now != then:
            yield Finding("settings", "", "", f"{name} is {now!r:.100}, recorded is {then!r:.100}")
    files: list[File] = []
    as_recorded = True
    for finding in _documents(paths, files, ledger, step):
        as_recorded = False
        yield finding
    if as_recorded and tuple(files) != head.files:
        names = [str(path) for path, read, was in zip(paths, files, head.files, strict=False) if read != was] or map(str, paths)
        what = "every document reads as recorded, but the bytes, names or number of the files are not those that were recorded"
        yield Finding("bytes", "", ", ".join(names), what)


def _documents(paths: Sequence[Path], files: list[File], ledger: Ledger, step: Callable[[int], None]) -> Iterator[Finding]:
    for line in corpus.lines(paths, files):
        try:
            document, content = line.read()
        except InvalidInputError as error:
            yield Finding("unreadable", "", line.place, str(error).removeprefix(f"{line.place} "))
            continue
        if not ledger.find(Entry(document.id, content, None, "", None), line.place):
            yield Finding("twice", document.id, line.place, "its id is that of an earlier document")
        if ledger.found % EVERY == 0:
            step(ledger.found)
    for difference in ledger.differences():
        yield Finding(difference.kind, difference.id, difference.place, WHAT[difference.kind])
