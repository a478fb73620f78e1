"""Profiles: all that signals need to know of texts before any query, built once for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ragguard.evidence.builder import EvidenceBuilder
from ragguard.evidence.memory_store import MemoryStore, Recent
from ragguard.evidence.plans import WindowPlan
from ragguard.evidence.profile import Profile
from ragguard.language.corpus import CorpusModel
from ragguard.language.ngrams import token_starts
from ragguard.language.reading import intrusion_of, window_surprise
from ragguard.protocols import Encoder, EvidenceStore
from ragguard.text import folded_words
from ragguard.text.control import control_marks
from ragguard.text.hidden import hidden_marks
from ragguard.types import Evidence

BUILT = 10_000
"""Profiles kept in memory: with their evidence some 300 MB of texts of 84 words (a process that had ingested 10,000 had 337 MB
more than the plain index, its language model included; benchmarks/results/scale.json)."""


class Profiles:
    """Looks profiles up, and builds what is missing for many texts in one go. Safe to use from many threads.

    Attributes:
        plan: What is embedded of a text.
    """

    plan = WindowPlan()

    def __init__(self, encoder: Encoder, corpus: CorpusModel, store: EvidenceStore | None = None) -> None:
        """Bind.

        Args:
            encoder: Embeds the windows.
            corpus: Judges the words.
            store: Keeps the embeddings of windows; None keeps them in memory.
        """
        self._encoder = encoder
        self._windows = EvidenceBuilder(encoder, self.plan, MemoryStore() if store is None else store)
        self._corpus = corpus
        self._built: Recent[Profile] = Recent(BUILT)

    def apart(self) -> Profiles:
        """Of the same corpus by the same encoder, for texts that are kept in memory, and forgotten with this object."""
        return Profiles(self._encoder, self._corpus)

    def prepare(self, texts: Sequence[str]) -> None:
        """Embed and store the windows of any number of canonical texts, and build as many profiles as are kept.

        Raises:
            EncoderError: If the encoder fails.
        """
        self._windows.prepare(texts)
        self.get(texts[:BUILT])

    def get(self, texts: Sequence[str]) -> list[Profile]:
        """Profiles of canonical texts that have words, one each, in their order.

        Raises:
            EncoderError: If the encoder fails.
        """
        keys = [f"{self._corpus.generation}|{text}" for text in texts]
        known = dict(zip(keys, self._built.get(keys), strict=True))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if known[key] is None}
        if missing:
            evidence = self._windows.get(list(missing.values()))
            fresh = {key: self._profile(text, item) for (key, text), item in zip(missing.items(), evidence, strict=True)}
            self._built.put(fresh)
            known.update(fresh)
        return [profile for key in keys if (profile := known[key]) is not None]

    def _profile(self, text: str, windows: Evidence) -> Profile:
        reading = self._corpus.read(text)
        spans = tuple(span for (span,) in windows.spans)
        places = np.searchsorted(token_starts(text), [(span.start, span.end) for span in spans])
        return Profile(
            text=text,
            spans=spans,
            vectors=windows.vectors,
            surprise=window_surprise(reading, places),
            intrusion=intrusion_of(reading.intrusion),
            words=tuple(folded_words(text)),
            hidden=hidden_marks(text),
            control=control_marks(text),
        )
