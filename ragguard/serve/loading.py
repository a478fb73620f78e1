"""What a sidecar serves, from the files that `ragguard calibrate` and `ragguard ingest` write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ragguard.defenses import CalibratedGuard, SourceQuota
from ragguard.defenses.saved import SavedGuard
from ragguard.encoders import OFFLINE_MODEL
from ragguard.errors import InvalidInputError
from ragguard.evaluation import models
from ragguard.evaluation.datasets import load_documents
from ragguard.protocols import Defense, Encoder, EvidenceStore
from ragguard.retriever import Guard, GuardPolicy, Observers
from ragguard.serve.limits import DEADLINE_S


@dataclass(frozen=True)
class Loaded:
    """A guard, and what it is made of.

    Attributes:
        guard: Judges.
        calibrated: The first of its defenses.
        defenses: Names of all of them, in turn.
        model: Of the encoder, as it was asked for.
        encoder: Embeds.
        documents: How many the corpus has.
        store: Keeps the evidence; None keeps it in memory.
        observers: Are told what becomes of each query.
    """

    guard: Guard
    calibrated: CalibratedGuard
    defenses: tuple[str, ...]
    model: str
    encoder: Encoder
    documents: int
    store: EvidenceStore | None
    observers: Observers | None = None


def load(
    guard: Path,
    corpus: Path,
    *,
    model: str | None = None,
    quota: int | None = None,
    store: str | None = None,
    deadline_s: float = DEADLINE_S,
    observers: Observers | None = None,
    step: Callable[[str], None] = lambda _: None,
) -> Loaded:
    """Load all that a sidecar needs.

    Args:
        guard: What `ragguard calibrate` wrote.
        corpus: The documents it was calibrated on, see `ragguard.evaluation.datasets.load_documents`.
        model: The encoder, see `ragguard.evaluation.models.load`; None takes the offline one.
        quota: Documents of one source that may pass; None counts none.
        store: Of evidence: an SQLite file or an SQLAlchemy URL; None keeps it in memory.
        deadline_s: Seconds after which a query ends in DeadlineExceededError.
        observers: Are told what becomes of each query; None tells nobody.
        step: Called with a sentence before what takes time.

    Raises:
        InvalidInputError: If a file is missing, damaged, or of another encoder, or a setting is out of range.
        EncoderError: If the model cannot be loaded.
        StoreError: If the store cannot be opened.
    """
    SavedGuard.read(guard)  # what is wrong with the files is known before the model is loaded
    step("reading the corpus")
    documents = load_documents(corpus)
    opened = _opened(store) if store else None
    step("loading the model")
    encoder = models.load(model)
    calibrated = CalibratedGuard.load(guard, encoder, documents, store=opened)
    defenses: list[Defense] = [calibrated]
    if quota is not None:
        defenses.append(SourceQuota(quota))
    return Loaded(
        guard=Guard(defenses, GuardPolicy(deadline_s=deadline_s), observers=observers),
        calibrated=calibrated,
        defenses=tuple(defense.name for defense in defenses),
        model=model or OFFLINE_MODEL,
        encoder=encoder,
        documents=len(documents),
        store=opened,
        observers=observers,
    )


def _opened(store: str) -> EvidenceStore:
    try:
        from ragguard.evidence import SQLStore
    except ImportError as missing:
        raise InvalidInputError(f"--store: {missing}") from missing
    return SQLStore(store)
