"""Whether what a guard needs is there and fits together: packages, model, device, store, calibration, corpus."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from ragguard.calibration import Report, corpus_hash
from ragguard.defenses.base import judgeable
from ragguard.defenses.saved import SavedGuard
from ragguard.encoders import OFFLINE_MODEL, OFFLINE_SHA256, SentenceTransformerEncoder
from ragguard.errors import EncoderError, InvalidInputError, RAGGuardError
from ragguard.evaluation import models
from ragguard.evaluation.calibrate import summary
from ragguard.evaluation.datasets import load_documents
from ragguard.protocols import Encoder
from ragguard.signals import Profiles

DISTRIBUTION = "ragguard-defense"
NOT_TOLD = ("dev", "demo")
"""Extras that are for developers, or made of others."""

SENTENCES = ("A cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose again in March.")
"""The first two mean nearly the same: a model for which the third is as near gives vectors without meaning."""

OFFLINE = (None, "onnx:int8", "onnx:fp32", "torch:fp32", "torch:fp16")
"""Names of the model whose checksum is known; it is not loaded with another."""

State: TypeAlias = Literal["ok", "note", "problem"]
"""`note`: it works, and there is something to know. `problem`: a guard would not run, or not guard."""


@dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes:
        about: What was looked at.
        state: How it is, see `State`.
        what: In plain words.
        todo: What to do; empty where it is said in `what`, or nothing is to be done.
    """

    about: str
    state: State
    what: str
    todo: str = ""


def examine(
    model: str | None = None,
    guard: Path | None = None,
    corpus: Path | None = None,
    store: str | None = None,
    step: Callable[[str], None] = lambda _: None,
) -> Iterator[Finding]:
    """Look at everything, and go on after a problem.

    Args:
        model: The encoder, see `ragguard.evaluation.models.load`; None takes the offline one.
        guard: What `ragguard calibrate` wrote; None looks at none.
        corpus: See `ragguard.evaluation.datasets.load_documents`; likewise.
        store: Of evidence: an SQLite file or an SQLAlchemy URL; likewise.
        step: Called with a sentence before what takes time.
    """
    yield from _python()
    yield from _packages()
    step("loading the model")
    encoder = None
    try:
        encoder = models.load(model)
        yield from _model(model, encoder)
        yield from _device(encoder)
    except RAGGuardError as error:
        yield Finding("model", "problem", str(error), "Name another with --model, or mend this one.")
    saved = None
    if guard:
        try:
            saved = SavedGuard.read(guard)
            yield from _calibration(guard, saved, encoder)
        except InvalidInputError as error:
            yield Finding("calibration", "problem", str(error))
    if corpus:
        step("reading the corpus")
        try:
            yield from _corpus(corpus, saved)
        except InvalidInputError as error:
            yield Finding("corpus", "problem", str(error))
    if store:
        step("opening the store")
        try:
            yield from _store(store, encoder)
        except (RAGGuardError, ImportError) as error:
            yield Finding("store", "problem", str(error))


def _python() -> Iterator[Finding]:
    known = metadata(DISTRIBUTION)["Requires-Python"]
    fits = SpecifierSet(known).contains(platform.python_version(), prereleases=True)
    what = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    todo = "" if fits else f"Make an environment with a Python {known}."
    yield Finding("Python", "ok" if fits else "problem", what, todo)


def _packages() -> Iterator[Finding]:
    """What is installed, of the versions that are asked for; an extra counts where all of it is there."""
    extras = [name for name in metadata(DISTRIBUTION).get_all("Provides-Extra") or () if name not in NOT_TOLD]
    needed = {name: _needed(name) for name in extras}
    there = [name for name in extras if all(_installed(requirement) for requirement in needed[name])]
    core = _needed("")
    bad = [
        f"{requirement.name} {_installed(requirement) or 'is missing'}, needs {requirement.specifier}"
        for requirement in dict.fromkeys([*core, *(requirement for name in there for requirement in needed[name])])
        if not requirement.specifier.contains(_installed(requirement) or "0", prereleases=True)
    ]
    versions = ", ".join(f"{name} {version(name)}" for name in ("sentence-transformers", "torch", "faiss-cpu") if _version(name))
    what = f"RAGGuard {version(DISTRIBUTION)} with {versions}; extras: {', '.join(there) or 'none'}"
    if bad:
        yield Finding("packages", "problem", "; ".join(bad), f"Run: pip install --upgrade {DISTRIBUTION}")
        return
    missing = ",".join(name for name in extras if name not in there)
    yield Finding("packages", "ok", what, f"For more: pip install '{DISTRIBUTION}[{missing}]'" if missing else "")


def _needed(extra: str) -> list[Requirement]:
    """What an extra needs, or without one the package itself; an extra that names others has theirs."""
    every = [Requirement(line) for line in requires(DISTRIBUTION) or ()]
    needed = [requirement for requirement in every if requirement.marker is None or requirement.marker.evaluate({"extra": extra})]
    if extra:
        needed = [requirement for requirement in needed if requirement.marker and not requirement.marker.evaluate({"extra": ""})]
    further = [name for requirement in needed if requirement.name == DISTRIBUTION for name in requirement.extras]
    inner = [requirement for name in further for requirement in _needed(name)]
    return [*(requirement for requirement in needed if requirement.name != DISTRIBUTION), *inner]


def _installed(requirement: Requirement) -> str:
    return _version(requirement.name)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _model(name: str | None, encoder: Encoder) -> Iterator[Finding]:
    vectors = encoder.encode_document(SENTENCES)
    if vectors.shape != (len(SENTENCES), encoder.dimension) or np.abs(np.linalg.norm(vectors, axis=1) - 1).max() > 1e-3:
        raise EncoderError(f"the model gives vectors of shape {vectors.shape} that are not of unit length")
    near, far = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
    took = np.median([_seconds(encoder, f"{sentence} {number}") for sentence in SENTENCES for number in range(3)])
    verified = f", weights verified (sha256 {OFFLINE_SHA256[:12]}...)" if name in OFFLINE else ""
    what = (
        f"{name or OFFLINE_MODEL}{verified}: unit vectors of {encoder.dimension} numbers, {1000 * took:.0f} ms for a query, "
        f"fingerprint {encoder.name}"
    )
    if near <= far:
        message = f"{what}; it finds {SENTENCES[2]!r} as near to {SENTENCES[0]!r} as {SENTENCES[1]!r}"
        yield Finding("model", "problem", message, "Its weights are damaged or untrained: install it again, or name another.")
    else:
        yield Finding("model", "ok", what)


def _seconds(encoder: Encoder, query: str) -> float:
    start = time.perf_counter()
    encoder.encode_query([query])
    return time.perf_counter() - start


def _device(encoder: Encoder) -> Iterator[Finding]:
    if not isinstance(encoder, SentenceTransformerEncoder):
        yield Finding("device", "ok", "the model runs elsewhere, behind its endpoint")
        return
    import torch

    cards = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    what = f"the model runs on {encoder.device}: {torch.get_num_threads()} threads on {cores} cores"
    if encoder.device.startswith("cuda"):
        yield Finding("device", "ok", f"the model runs on {encoder.device}: {', '.join(cards)}")
    elif cards:
        yield Finding("device", "note", f"{what}, though there is {', '.join(cards)}", "A model without onnx: would run there.")
    elif Path("/proc/driver/nvidia/version").exists():
        todo = "Install torch with CUDA: https://pytorch.org/get-started/locally"
        yield Finding("device", "note", f"{what}; there is an NVIDIA driver, but this torch does not see a GPU", todo)
    else:
        yield Finding("device", "ok", f"{what}, no GPU")


def stopped(report: Report) -> str:
    """What a guard stops of attacks on itself, in a sentence."""
    if not report.protection:
        return "What it stops was never tried; calibrate again."
    if report.weak:
        return f"It does not stop texts {', '.join(report.weak)}."
    return "It stops what it was attacked with."


def _calibration(path: Path, saved: SavedGuard, encoder: Encoder | None) -> Iterator[Finding]:
    calibration = summary(saved)
    changed = datetime.fromtimestamp(path.stat().st_mtime, tz=timezone.utc).date()
    queries = f"{calibration.queries} {'derived' if calibration.derived else 'clean'} queries"
    what = (
        f"{path}, file of {changed}: {queries} over {calibration.documents} texts, for up to {calibration.k} results. "
        f"{calibration.promise} {stopped(calibration.report)}"
    )
    if encoder and encoder.name != calibration.encoder:
        message = f"{path} was calibrated with another model: fingerprint {calibration.encoder}, this one has {encoder.name}"
        yield Finding("calibration", "problem", message, "Name that model with --model, or run ragguard calibrate with this one.")
    elif calibration.policy == "flag":
        yield Finding(
            "calibration", "note", what, "Its policy is to flag: what is suspicious is told, and returned all the same."
        )
    else:
        yield Finding("calibration", "note" if calibration.derived else "ok", what)


def _corpus(path: Path, saved: SavedGuard | None) -> Iterator[Finding]:
    documents = load_documents(path)
    texts = judgeable(documents)
    sources = sum("source" in document.metadata for document in documents)
    what = f"{path}: {len(documents)} documents, {sources} of them with a source"
    if not texts:
        yield Finding("corpus", "problem", f"{path} has no document that can be judged", "Give a file of documents with text.")
        return
    if unfit := len(documents) - len(texts):
        yield Finding("corpus", "note", f"{path}: {unfit} documents are too long to be judged", "Split them: none is returned.")
    count, name = corpus_hash(texts)
    if saved and saved.calibration.corpus and (count, name) != (saved.calibration.documents, saved.calibration.corpus):
        message = (
            f"{what}; not the corpus of the calibration, which had {saved.calibration.documents} texts where this has {count}"
        )
        yield Finding("corpus", "note", message, "If it only grew, go on; calibrate again when it has changed much.")
    else:
        yield Finding("corpus", "ok", what)


def _store(database: str, encoder: Encoder | None) -> Iterator[Finding]:
    file = Path(database.removeprefix("sqlite:///"))
    if "://" not in str(file) and "?" not in str(file) and not file.exists():
        todo = f"Name another, or make it: ragguard ingest CORPUS --store {database}"
        yield Finding("store", "problem", f"there is no file {file}", todo)
        return
    from ragguard.evidence import SQLStore

    with SQLStore(database) as store:
        store.check_writable()
        kept = store.kept()
        contents = (
            "; ".join(f"{evidence.kind}: {evidence.texts:,} texts, {evidence.megabytes:,.1f} MB" for evidence in kept)
            or "nothing"
        )
        what = f"{store.name} opens, can be written to, and holds {contents}"
        if encoder and f"{encoder.name}|{Profiles.plan.key}" not in {evidence.kind for evidence in kept}:
            message = f"{what}; nothing that the default guard needs of this model, so queries compute it as they come"
            yield Finding("store", "note", message, f"Run: ragguard ingest CORPUS --store {store.name}")
        else:
            yield Finding("store", "ok", what)
