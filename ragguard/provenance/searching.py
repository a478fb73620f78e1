"""A tracer over exact search of a corpus, guarded as files say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ragguard.defenses import CalibratedGuard, SourceQuota
from ragguard.evaluation import models
from ragguard.evaluation.cache import CachedEncoder
from ragguard.evaluation.calibrate import BLOCK
from ragguard.index import DenseIndex
from ragguard.protocols import Defense
from ragguard.provenance.tracing import Tracer
from ragguard.text import words
from ragguard.types import Document


def tracer(
    documents: Sequence[Document],
    *,
    guard: Path | None = None,
    quota: int | None = None,
    model: str | None = None,
    cache: Path | None = None,
    step: Callable[[str, int, int], None] = lambda *_: None,
) -> Tracer:
    """Index a corpus and bind its guard.

    Args:
        documents: With their provenance in the metadata, as `recorded` gives them; those without words are left out.
        guard: What `ragguard calibrate` wrote; None is no such defense.
        quota: Documents of one source that may pass; None counts none.
        model: The encoder, see `ragguard.evaluation.models.load`; None takes the offline one.
        cache: Folder of embeddings, kept between runs; None keeps them in memory.
        step: Called before each part of the work with a sentence, how much is done, and how much there is.

    Raises:
        InvalidInputError: If the guard is missing, damaged, or of another encoder, or a setting is out of range.
        EncoderError: If the model cannot be loaded.
    """
    judged = [document for document in documents if words(document.text)]
    total = len(judged)
    step("loading the model", 0, total)
    encoder = CachedEncoder(models.load(model), cache)
    index = DenseIndex(encoder)
    for start in range(0, total, BLOCK):
        step("indexing documents", start, total)
        index.add(judged[start : start + BLOCK])
    defenses: list[Defense] = [CalibratedGuard.load(guard, encoder, judged)] if guard else []
    return Tracer(index, [*defenses, SourceQuota(quota)] if quota is not None else defenses)
