"""The protocol: target queries are attacked, and every system answers them with and without the attack."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from ragguard.attacks import EVERY_TARGET, TARGET, Attack, Budget, Family, Target
from ragguard.encoders.vectors import encode_one_query
from ragguard.errors import DefenseError, InvalidInputError
from ragguard.evaluation.cache import CachedEncoder
from ragguard.evaluation.example import Example, explained
from ragguard.evaluation.timing import encoding_ms, ingest_ratio
from ragguard.protocols import Retriever
from ragguard.text import canonical
from ragguard.types import Document, GuardedResult, Hit

INGESTED = 16
"""Documents by which the time of ingestion is measured; RAGMask takes about five seconds for as many."""

TIMED = 10
"""Clean queries on which systems are timed, with nothing from the cache; RAGMask may embed twenty texts for each."""


class Corpus(Retriever, Protocol):
    """An undefended retriever whose documents can come and go, such as `DenseIndex`."""

    @property
    def documents(self) -> tuple[Document, ...]:
        """Every document."""

    def add(self, documents: Sequence[Document]) -> int:
        """Add documents."""

    def delete(self, ids: Sequence[str]) -> int:
        """Remove documents."""


@dataclass(frozen=True)
class System:
    """What is measured: a retriever over a corpus, with or without a guard.

    Attributes:
        name: For tables.
        over: Builds the retriever over the corpus it is given.
        prepare: Computes evidence of documents ahead of queries.
        depth: How many undefended candidates of a query it examines; evidence is prepared for these. None prepares the corpus.
    """

    name: str
    over: Callable[[Any], Retriever]
    prepare: Callable[[Sequence[Document]], None] = lambda _: None
    depth: int | None = None


@dataclass(frozen=True)
class Answer:
    """What one system returned for one query.

    Attributes:
        query_id: The query.
        returned: Ids of the top k, best first.
        poisoned: Ids of the documents planted against the query.
        candidates: Ids of what was judged.
        lost: Ids that the undefended top k had and this one has not.
        dropped: Ids that a defense removed.
        suspicions: By id, the suspicion of the last defense that tells one.
        ms: Milliseconds it took, the query's encoding left out; None where it was not timed.
    """

    query_id: str
    returned: tuple[str, ...]
    poisoned: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    suspicions: Mapping[str, float] = field(default_factory=dict)
    ms: float | None = None


@dataclass(frozen=True)
class Trial:
    """Every system's answers under one attack, or under none.

    Attributes:
        attack: Name of the attack; empty for the clean corpus.
        family: Its family.
        threat: What its attacker knows and may write.
        series: Name of its budget curve, if it lies on one.
        effort: Its place there.
        answers: By system, one for each target, in the order of the targets.
        encoding_ms: Median time to encode a query; clean corpus only.
        ingest_ratio: By system, time to embed documents and prepare evidence, over the time to embed them; clean corpus only.
        example: One query before and after.
    """

    attack: str
    family: Family
    threat: str
    series: str | None
    effort: int | None
    answers: Mapping[str, tuple[Answer, ...]]
    encoding_ms: float = 0.0
    ingest_ratio: Mapping[str, float] = field(default_factory=dict)
    example: Example | None = None


class Experiment:
    """Asks every system every target query, on the clean corpus and under attacks."""

    def __init__(
        self,
        corpus: Corpus,
        encoder: CachedEncoder,
        targets: Sequence[Target],
        systems: Sequence[System],
        *,
        k: int,
        together: bool = False,
        timed: int = TIMED,
        ingested: int = INGESTED,
        step: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Configure.

        Args:
            corpus: Holds the honest documents; poisoned ones come and go, and it is left as it was.
            encoder: The encoder of corpus and defenses; what is timed is encoded afresh.
            targets: The queries.
            systems: What defends; interleaved query by query, so that times compare.
            k: Results per query.
            together: Whether what is planted against all targets is there at once, as in PoisonedRAG, instead of each target's
                own alone, as in RAGPart's paper.
            timed: On how many clean queries systems are timed; the others, and those under attack, may use the cache.
            ingested: By how many documents the time of ingestion is measured, for each system.
            step: Called with a sentence before each part of the work, for progress.

        Raises:
            InvalidInputError: If there are no targets or no systems, or two systems share a name.
        """
        if not targets or not systems:
            raise InvalidInputError("an experiment needs target queries and systems")
        if len({system.name for system in systems}) < len(systems):
            raise InvalidInputError(f"systems need different names: {[system.name for system in systems]}")
        self._corpus, self._encoder, self._targets, self._systems = corpus, encoder, targets, systems
        self._k, self._together, self._timed, self._ingested, self._step = k, together, timed, ingested, step
        self._retrievers = [system.over(corpus) for system in systems]

    def clean(self) -> Trial:
        """Ask without attack; evidence of the candidates is prepared first."""
        self._step("timing ingestion")
        ratio = ingest_ratio(
            self._encoder, self._corpus.documents, {system.name: system.prepare for system in self._systems}, self._ingested
        )
        for system in self._systems:
            self._step(f"evidence for {system.name}")
            documents = self._corpus.documents
            if system.depth is not None:
                near = {h.document.id: h.document for t in self._targets for h in self._corpus.retrieve(t.query, system.depth)}
                documents = tuple(near.values())
            system.prepare(documents)
        self._step("asking without attack")
        answers: list[list[Answer]] = [[] for _ in self._systems]
        for number, target in enumerate(self._targets):
            self._ask(target, target.query, (), answers, timed=number < self._timed)
        ms = encoding_ms(self._encoder, [target.query for target in self._targets[: self._timed]])
        return Trial("", "A", "no attack", None, None, self._by_system(answers), ms, ratio)

    def under(self, attack: Attack, budget: Budget) -> Trial:
        """Ask under one attack.

        Raises:
            InvalidInputError: If the attack cannot make what the budget allows, or edits documents while all poison is there at
                once: two edits of one document cannot be.
        """
        if self._together and attack.threat.edits:
            raise InvalidInputError(f"{attack.name} edits documents, which cannot be done against all queries together")
        self._step(f"{attack.name}: writing")
        documents = attack(self._targets, budget, self._step)
        poisoned = [replace(document, text=canonical(document.text).text) for document in documents]
        self._step(f"{attack.name}: embedding {len(poisoned)} documents")
        self._encoder.encode_document([document.text for document in poisoned])
        for system in self._systems:
            self._step(f"{attack.name}: evidence for {system.name}")
            system.prepare(poisoned)
        self._step(f"{attack.name}: asking")
        answers: list[list[Answer]] = [[] for _ in self._systems]
        example = None
        if self._together:
            originals = self._plant(poisoned)
        for target in self._targets:
            planted = [document for document in poisoned if document.metadata[TARGET] in (target.id, EVERY_TARGET)]
            if not self._together:
                originals = self._plant(planted)
            results = self._ask(target, attack.asked(target), [document.id for document in planted], answers)
            if example is None or not example.stopped:
                ids = {document.id for document in planted}
                by_system = {system.name: hits for system, hits in zip(self._systems, results, strict=True)}
                example = explained(target, attack.asked(target), ids, by_system, self._k) or example
            if not self._together:
                self._uproot(planted, originals)
        if self._together:
            self._uproot(poisoned, originals)
        return Trial(
            attack=attack.name,
            family=attack.family,
            threat=str(attack.threat),
            series=attack.series,
            effort=attack.effort,
            answers=self._by_system(answers),
            example=example,
        )

    def _plant(self, documents: Sequence[Document]) -> list[Document]:
        """Add documents, in place of those whose ids they take; returns what they replaced."""
        ids = {document.id for document in documents}
        originals = [document for document in self._corpus.documents if document.id in ids]
        self._corpus.delete([document.id for document in originals])
        self._corpus.add(documents)
        return originals

    def _uproot(self, documents: Sequence[Document], originals: Sequence[Document]) -> None:
        self._corpus.delete([document.id for document in documents])
        self._corpus.add(originals)

    def _ask(
        self, target: Target, query: str, poisoned: Sequence[str], answers: Sequence[list[Answer]], *, timed: bool = False
    ) -> list[Sequence[Hit]]:
        results = []
        undefended = self._corpus.retrieve(query, self._k)
        for retriever, system_answers in zip(self._retrievers, answers, strict=True):
            with self._encoder.live() if timed else nullcontext():
                encode_one_query(self._encoder, canonical(query).text)  # remembered from here on, and timed apart
                start = time.perf_counter()
                hits = retriever.retrieve(query, self._k)
                ms = round((time.perf_counter() - start) * 1000, 3)
            system_answers.append(_answer(target.id, hits, undefended, poisoned, ms if timed else None))
            results.append(hits)
        return results

    def _by_system(self, answers: Sequence[list[Answer]]) -> dict[str, tuple[Answer, ...]]:
        return {system.name: tuple(system_answers) for system, system_answers in zip(self._systems, answers, strict=True)}


def steps(attacks: int, systems: int, targets: int) -> int:
    """How often an experiment without universal attacks calls `step`."""
    return systems + 2 + attacks * (systems + targets + 3)


def _answer(query_id: str, hits: Sequence[Hit], undefended: Sequence[Hit], poisoned: Sequence[str], ms: float | None) -> Answer:
    result = hits if isinstance(hits, GuardedResult) else GuardedResult(query_id, len(hits), tuple(hits), tuple(hits))
    returned = tuple(hit.document.id for hit in hits)
    suspicions = {verdict.document_id: verdict.suspicion for verdict in result.verdicts if verdict.suspicion is not None}
    if not np.isfinite(list(suspicions.values())).all():
        raise DefenseError(f"suspicions must be finite; for {query_id!r} they are {suspicions}")
    return Answer(
        query_id=query_id,
        returned=returned,
        poisoned=tuple(poisoned),
        candidates=tuple(hit.document.id for hit in result.candidates),
        lost=tuple(hit.document.id for hit in undefended if hit.document.id not in returned),
        dropped=tuple(hit.document.id for hit in result.removed),
        suspicions=suspicions,
        ms=ms,
    )
