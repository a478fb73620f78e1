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

from ragguard.calibration import Calibration, Drift, checked_k, corpus_hash, parts, suspicions
from ragguard.calibration.derived import DerivedQuery, WithoutCopies, derived_queries, enough
from ragguard.checks import an_encoder, query_text
from ragguard.defenses.base import BaseDefense, Judgement, judgeable
from ragguard.defenses.calibrating import build, calibrate, refuse_outlier
from ragguard.defenses.saved import CalibratedGuardSettings, Policy, SavedGuard, digest
from ragguard.encoders.vectors import encode_one_query
from ragguard.errors import DefenseError, InvalidInputError
from ragguard.evidence import EvidenceBuilder, WholePlan
from ragguard.evidence.memory_store import MemoryStore
from ragguard.language.corpus import SAMPLE, sample
from ragguard.protocols import Encoder, EvidenceStore, Retriever
from ragguard.signals import (
    Candidates,
    ControlText,
    CorpusModel,
    Echo,
    Flood,
    HiddenText,
    Intrusion,
    Profiles,
    Scatter,
    Seam,
    Signal,
    Spike,
    Stuffing,
    Surprise,
)
from ragguard.signals.query import RareWords
from ragguard.text import canonical, folded_words, without
from ragguard.types import Document, GuardedResult, Hit, Vectors

LOGGER = logging.getLogger("ragguard")

TOLD = 0.7
"""Signals with this share of a document's suspicion are named, and always the largest: a quarter or more of its fourth power."""


class CalibratedGuard(BaseDefense):
    """Acts on documents more suspicious than all but a set share of clean queries' documents are.

    Each signal's scores are put on one scale, the largest decide, and the threshold is that of clean queries: on average over
    draws of calibration queries, at most `max_clean_query_loss` of clean queries lose a document of their top k, whatever the
    signals and the corpus are, as long as live queries are like the calibration queries. What is not suspicious keeps the
    retriever's order and scores.
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
        self._rest = EvidenceBuilder(encoder, WholePlan(), MemoryStore())
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
            queries: Like those that users ask; half fit the scales, half set the threshold. None derives them from the documents.
                Derived ones guarantee no share.
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
        asked = derived_queries(documents, enough(max_clean_query_loss)) if queries is None else queries
        derived = [one for one in asked if isinstance(one, DerivedQuery)]
        if derived:
            retriever = WithoutCopies(retriever, derived)
        fit, held = parts([query_text(one.text if isinstance(one, DerivedQuery) else one) for one in asked], max_clean_query_loss)
        made = build(signals or SIGNALS, known, encoder, fit)
        found = calibrate(encoder, retriever, Profiles(encoder, corpus, store), made, fit, held, k=k, depth=depth)
        count, corpus_name = corpus_hash(texts)
        found = found.model_copy(update={"documents": count, "corpus": corpus_name, "derived": bool(derived)})
        loss = {"max_clean_query_loss": max_clean_query_loss, "confident": confident, "poisoned": poisoned}
        return cls(encoder, corpus, made, found, policy=policy, store=store, rare=RareWords(known), **loss)  # type: ignore[arg-type]

    def describe(self) -> Mapping[str, Any]:
        """Settings, threshold, each signal's scale (typical score, unit), digests of the calibration file and the corpus."""
        return {**self._described, "corpus": self._corpus.digest}

    @cached_property
    def _described(self) -> Mapping[str, Any]:
        found = self.calibration
        saved = SavedGuard(settings=self.settings, calibration=found).model_dump_json()
        return {
            **super().describe(),
            "encoder": found.encoder,
            "k": found.k,
            "threshold": self.threshold,
            "scales": {name: [one.typical, one.unit] for name, one in sorted(found.scales.items())},
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
            classes: tuple[type[Signal], ...] = (*SIGNALS, Flood)
            named = {signal.name: signal for signal in classes}
            if strange := sorted(calibration.scales.keys() - named.keys()):
                raise InvalidInputError(
                    f"{path} has the signals {strange}, which are not known here; pass signals, or calibrate again"
                )
            signals = [signal for name, signal in named.items() if name in calibration.scales]
        texts = judgeable(documents)
        known = sample(texts)
        corpus, made = CorpusModel(known), build(signals, known, encoder, ())
        chosen = (settings or saved.settings).model_dump()
        guard = cls(encoder, corpus, made, calibration, store=store, rare=RareWords(known), **chosen)
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
        return CalibratedGuard(encoder, self._corpus, self._signals, self.calibration, **self.settings.model_dump())

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
        suspicious = {one.document_id for one in result.verdicts if (one.suspicion or 0) > self.threshold}
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
        found = suspicions(self.calibration.scales, scores)
        self._count(bool((found[:k] > self.threshold).any()))
        told = [dict(zip(scores, row, strict=True)) for row in zip(*(one.tolist() for one in scores.values()), strict=True)]
        judged = [self._judgement(i, hits[i], suspicion, told[i], candidates) for i, suspicion in enumerate(found.tolist())]
        guilty = [i for i, one in enumerate(judged) if (one.suspicion or 0) > self.threshold]
        if guilty and self.settings.policy == "raise":
            raise DefenseError("; ".join(f"document {hits[i].document.id!r}: {judged[i].reason}" for i in guilty))
        return self._ranked(judged, guilty, hits, vector)

    def _count(self, suspicious: bool) -> None:
        self.drift.count(suspicious)
        if not self._warned.is_set() and (warning := self.drift.warning):
            self._warned.set()
            LOGGER.warning(warning)

    def _judgement(self, i: int, hit: Hit, suspicion: float, scores: Mapping[str, float], candidates: Candidates) -> Judgement:
        signals = {**scores, "p_value": self.calibration.p_value(suspicion)}
        if suspicion <= self.threshold:
            asked, share = self.calibration.asked, signals["p_value"]
            reason = f"Nothing unusual: {share:.0%} of {asked} have a document as suspicious in their results."
            return Judgement(i, hit.score, reason, signals=signals, suspicion=suspicion)
        scales = self.calibration.scales
        standard = {one.name: (scores[one.name] - scales[one.name].typical) / scales[one.name].unit for one in self._signals}
        least = min(TOLD * suspicion, max(standard.values()))
        over = sorted((one for one in self._signals if standard[one.name] >= least), key=lambda one: -standard[one.name])
        told = " and ".join(f"{one.meaning} (p = {scales[one.name].p_value(scores[one.name]):.2g})" for one in over)
        spans = next((spans for one in over if (spans := one.spans(candidates, i))), ())
        note = f" Calibrated on {self.calibration.asked}: no guarantee." if self.calibration.derived else ""
        drop = self.settings.policy in ("drop", "raise")
        return Judgement(i, hit.score, f"The document {told}.{note}", drop, signals, spans, suspicion)

    def _ranked(self, judged: list[Judgement], guilty: Sequence[int], hits: Sequence[Hit], vector: Vectors) -> list[Judgement]:
        if not guilty or self.settings.policy in ("drop", "flag"):
            return judged
        behind = min(hit.score for hit in hits) - 1.0
        scores = dict.fromkeys(guilty, behind)
        if self.settings.policy == "sanitise":
            rest = {i: without(hits[i].document.text, judged[i].spans) for i in guilty if judged[i].spans}
            rest = {i: text for i, text in rest.items() if text}
            for (i, _), item in zip(rest.items(), self._rest.get(list(rest.values())), strict=True):
                scores[i] = min(float(item.vectors[0] @ vector), hits[i].score)
        moved = [replace(one, score=scores.get(one.position, one.score)) for one in judged]
        return sorted(moved, key=lambda one: -one.score)


SIGNALS: tuple[type[Signal], ...] = (Echo, Scatter, Stuffing, Spike, Seam, Surprise, Intrusion, HiddenText, ControlText)
"""Of the default guard. `Flood` needs a share of its own: among them it stops little, and makes Scatter stop less on msmarco_dev.
`Outlier` adds nothing on nq_dev."""
