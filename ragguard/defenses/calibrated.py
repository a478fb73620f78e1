"""The calibrated guard: several signals, one threshold, a share of clean queries that the user sets (DESIGN section 4)."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ragguard.calibration import Calibration, Drift, Report, checked_k, corpus_hash, report
from ragguard.calibration.derived import DerivedQuery, derived_queries, enough
from ragguard.checks import an_encoder, query_text
from ragguard.defenses.acting import TOLD as TOLD
from ragguard.defenses.acting import Acting
from ragguard.defenses.base import BaseDefense, Judgement, judgeable
from ragguard.defenses.calibrating import SIGNALS as SIGNALS
from ragguard.defenses.calibrating import build, calibrate, refuse_outlier, signals_named
from ragguard.defenses.saved import CalibratedGuardSettings, Policy, SavedGuard, digest
from ragguard.encoders.vectors import encode_one_query
from ragguard.errors import InvalidInputError
from ragguard.evidence import MemoryStore
from ragguard.language.corpus import SAMPLE, sample
from ragguard.protocols import Encoder, EvidenceStore, Retriever
from ragguard.signals import Candidates, CorpusModel, Profiles, Signal
from ragguard.signals.query import RareWords
from ragguard.text import canonical, folded_words
from ragguard.types import Document, GuardedResult, Hit

LOGGER = logging.getLogger("ragguard")


class CalibratedGuard(BaseDefense):
    """Acts on documents more suspicious than all but a set share of clean queries' documents are.

    On average over draws of calibration queries, at most `max_clean_query_loss` of clean queries lose a document of their top k,
    whatever signals and corpus are, as long as live queries are like the calibration queries. What is not suspicious keeps the
    retriever's order and scores. What it stops is measured, not guaranteed: `report` tells.
    """

    def __init__(
        self,
        encoder: Encoder,
        corpus: CorpusModel,
        signals: Sequence[Signal],
        calibration: Calibration,
        *,
        max_clean_query_loss: float = 0.02,
        policy: Policy = "drop",
        confident: bool = False,
        poisoned: float = 0.0,
        store: EvidenceStore | None = None,
        rare: RareWords | None = None,
    ) -> None:
        """Put a guard together from its parts; `calibrated` makes the parts.

        Args:
            encoder: Embeds windows and queries.
            corpus: What is usual language.
            signals: What is looked at.
            calibration: What is usual for these signals.
            max_clean_query_loss: Share of clean queries that may lose a document.
            policy: What is done with a suspicious document.
            confident: Hold that share with 95 % confidence.
            poisoned: Share of the calibration queries that may have met poison.
            store: Keeps the embeddings of windows; None keeps them in memory.
            rare: Of the corpus; finds trigger words in queries. None does not look for them.

        Raises:
            InvalidInputError: If a setting is out of range, or the calibration is of another encoder or other signals, or too
                small for the share.
        """
        try:
            self.settings = CalibratedGuardSettings(
                max_clean_query_loss=max_clean_query_loss, policy=policy, confident=confident, poisoned=poisoned
            )
        except ValidationError as error:
            raise InvalidInputError(f"CalibratedGuard: {error}") from error
        if calibration.encoder != an_encoder(encoder).name:
            raise InvalidInputError(f"calibrated with the encoder {calibration.encoder!r}, not {encoder.name!r}; calibrate again")
        if calibration.scales.keys() != {signal.name for signal in signals}:
            raise InvalidInputError(
                f"calibrated for the signals {sorted(calibration.scales)}, not {sorted(signal.name for signal in signals)}; "
                "calibrate again"
            )
        more = (f", {policy}" if policy != "drop" else "") + (", derived" if calibration.derived else "")
        self.name = f"CalibratedGuard({max_clean_query_loss:.2g}{more})"
        self.calibration = calibration
        self.threshold = calibration.threshold(max_clean_query_loss, poisoned=poisoned, confident=confident)
        self.drift = Drift(max_clean_query_loss)
        self._encoder, self._corpus, self._signals = encoder, corpus, tuple(signals)
        self._profiles = Profiles(encoder, corpus, store)
        self._acting = Acting(encoder, self._signals, calibration, policy)
        self._warned, self._rare = threading.Event(), rare
        if calibration.derived:
            LOGGER.warning(
                f"{self.name}: calibrated on {calibration.asked}, so no share is guaranteed; use queries of your users"
            )

    @classmethod
    def calibrated(
        cls,
        encoder: Encoder,
        retriever: Retriever,
        documents: Sequence[Document],
        queries: Sequence[str | DerivedQuery] | None = None,
        *,
        k: int = 10,
        signals: Sequence[type[Signal]] | None = None,
        max_clean_query_loss: float = 0.02,
        policy: Policy = "drop",
        confident: bool = False,
        poisoned: float = 0.0,
        depth: int = 2,
        store: EvidenceStore | None = None,
    ) -> CalibratedGuard:
        """A guard for a corpus, calibrated on clean queries.

        Args:
            encoder: Embeds windows and queries.
            retriever: The undefended retriever of the corpus.
            documents: The corpus.
            queries: Like those that users ask; all of them set the threshold. None derives them from the documents. Derived ones
                guarantee no share.
            k: Results per query, at most.
            signals: Which ones; None takes `SIGNALS`.
            max_clean_query_loss: Share of clean queries that may lose a document.
            policy: What is done with a suspicious document.
            confident: Hold that share with 95 % confidence.
            poisoned: Share of the calibration queries that may have met poison.
            depth: Candidates for each result, as in service.
            store: Keeps the embeddings of windows; None keeps them in memory.

        Raises:
            InvalidInputError: If there are no documents with words, or too few queries for the share.
        """
        store = MemoryStore() if store is None else store
        texts = judgeable(documents)
        known = sample(texts)
        corpus = CorpusModel(known)
        clean_queries = derived_queries(documents, enough(max_clean_query_loss)) if queries is None else queries
        derived = any(isinstance(query, DerivedQuery) for query in clean_queries)
        for query in clean_queries:
            query_text(query.text if isinstance(query, DerivedQuery) else query)
        profiles = Profiles(encoder, corpus, store)
        built, calibration = calibrate(
            encoder,
            retriever,
            profiles,
            signals or SIGNALS,
            documents,
            known,
            clean_queries,
            max_clean_query_loss,
            k=k,
            depth=depth,
        )
        count, corpus_name = corpus_hash(texts)
        calibration = calibration.model_copy(update={"documents": count, "corpus": corpus_name, "derived": derived})
        loss = {"max_clean_query_loss": max_clean_query_loss, "confident": confident, "poisoned": poisoned}
        rare = RareWords(known)
        return cls(encoder, corpus, built, calibration, policy=policy, store=store, rare=rare, **loss)  # type: ignore[arg-type]

    def report(self) -> Report:
        """What share of clean queries is harmed, and what the guard stops of attacks on itself, at its threshold."""
        settings = self.settings
        return report(self.calibration, settings.max_clean_query_loss, poisoned=settings.poisoned, confident=settings.confident)

    def __str__(self) -> str:
        """Its name, and the report."""
        return f"{self.name}\n{self.report()}"

    def __repr__(self) -> str:
        return f"<{self.name}, threshold {self.threshold:.3g}, {len(self.calibration.maxima)} {self.calibration.asked}>"

    def describe(self) -> Mapping[str, Any]:
        """Settings, threshold, each signal's scale (typical score, unit), digests of the calibration file and the corpus."""
        return {**self._described, "corpus": self._corpus.digest}

    @cached_property
    def _described(self) -> Mapping[str, Any]:
        calibration = self.calibration
        saved = SavedGuard(settings=self.settings, calibration=calibration).model_dump_json()
        return {
            **super().describe(),
            "encoder": calibration.encoder,
            "k": calibration.k,
            "threshold": self.threshold,
            "scales": {name: [scale.typical, scale.unit] for name, scale in sorted(calibration.scales.items())},
            "context": sorted(name for name, scale in calibration.scales.items() if not scale.alone),
            "joint": [joint.model_dump(mode="json") for joint in calibration.joint],
            "calibration": digest(json.loads(saved)),
        }

    def save(self, path: Path | str) -> None:
        """Write settings and calibration as JSON, for `load`; whoever can change the file can switch the guard off.

        Raises:
            InvalidInputError: If it cannot be written, or a signal is bound to queries, which are not saved (`Outlier`).
        """
        refuse_outlier(self.calibration)
        SavedGuard(settings=self.settings, calibration=self.calibration).write(Path(path))

    @classmethod
    def load(
        cls,
        path: Path | str,
        encoder: Encoder,
        documents: Sequence[Document],
        *,
        signals: Sequence[type[Signal]] | None = None,
        settings: CalibratedGuardSettings | None = None,
        store: EvidenceStore | None = None,
    ) -> CalibratedGuard:
        """A guard from a file that `save` or `ragguard calibrate` wrote, without calibrating again.

        A corpus that is not the one it was calibrated on is normal when it grows, and is logged as a warning.

        Args:
            path: Of the file.
            encoder: The one it was calibrated with.
            documents: The corpus, of which the guard reads a sample again (`ragguard.language.corpus.SAMPLE`).
            signals: Which ones; None takes those of the file. Needed for signals of your own.
            settings: None takes those of the file. Another `max_clean_query_loss` takes another threshold.
            store: Keeps the embeddings of windows; None keeps them in memory.

        Raises:
            InvalidInputError: If the file is missing, damaged, or of another version, encoder or signals; or there are no
                documents with words.
        """
        saved = SavedGuard.read(Path(path))
        calibration = saved.calibration
        refuse_outlier(calibration)
        if signals is None:
            signals = signals_named(calibration.scales.keys(), path)
        texts = judgeable(documents)
        known = sample(texts)
        corpus, built = CorpusModel(known), build(signals, known, encoder, ())
        chosen = (settings or saved.settings).model_dump()
        guard = cls(encoder, corpus, built, calibration, store=store, rare=RareWords(known), **chosen)
        count, name = corpus_hash(texts)
        if (count, name) != (calibration.documents, calibration.corpus):
            LOGGER.warning(
                f"{path} was calibrated on another corpus, of {calibration.documents} texts; this one has {count}. "
                "If it only grew, go on; calibrate again when it has changed much, or clean queries lose documents."
            )
        return guard

    def using(self, encoder: Encoder) -> CalibratedGuard:
        """The same guard with another object for the same encoder, and with a store of its own.

        Raises:
            InvalidInputError: If the encoder has another name.
        """
        guard = CalibratedGuard(encoder, self._corpus, self._signals, self.calibration, **self.settings.model_dump())
        guard.releases = self.releases
        return guard

    def prepare(self, documents: Sequence[Document]) -> None:
        """Embed windows ahead of queries, and read as many texts as are kept in memory; the corpus model learns nothing."""
        self._profiles.prepare(judgeable(documents))

    def learn(self, documents: Sequence[Document]) -> None:
        """Tell the corpus model that these documents belong to the corpus, too; one of `SAMPLE` texts knows its language."""
        texts = judgeable(documents)[: max(SAMPLE - len(self._corpus), 0)]
        self._corpus.learn(texts)
        if self._rare:
            self._rare.learn(texts)

    def __call__(self, query: str, hits: Sequence[Hit], k: int) -> GuardedResult:
        """As any defense, and tells what word of the query a suspicious document seems to wait for."""
        result = super().__call__(query, hits, k)
        suspicious = {verdict.document_id for verdict in result.verdicts if (verdict.suspicion or 0) > self.threshold}
        if not self._rare or not suspicious:
            return result
        texts = [canonical(hit.document.text).text for hit in result.candidates if hit.document.id in suspicious]
        return replace(result, query_findings=self._rare(query, texts))

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:
        """Act on what is suspicious; what is not keeps its order.

        Raises:
            InvalidInputError: If `k` is above the calibration's.
            DefenseError: If something is suspicious and the policy is to raise.
        """
        checked_k(k, self.calibration)
        vector = encode_one_query(self._encoder, query)
        candidates = Candidates(folded_words(query), vector, self._profiles.get([hit.document.text for hit in hits]))
        scores = {signal.name: signal(candidates) for signal in self._signals}
        suspicion = self.calibration.suspicions(scores)
        self._count(bool((suspicion[:k] > self.threshold).any()))
        return self._acting(hits, vector, candidates, scores, suspicion, self.threshold)

    def _count(self, suspicious: bool) -> None:
        self.drift.count(suspicious)
        if not self._warned.is_set() and (warning := self.drift.warning):
            self._warned.set()
            LOGGER.warning(warning)
