"""What flows through RAGGuard: frozen values, documented field by field."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from ragguard.errors import InvalidInputError

Vectors: TypeAlias = NDArray[np.float32]
"""Embeddings: rows are unit vectors."""

Action: TypeAlias = Literal["keep", "demote", "drop"]
"""`keep`: not moved out of the top k. `demote`: outranked, out of the top k. `drop`: never returned, whatever k."""

FindingKind: TypeAlias = Literal["hidden text", "control text", "rare word"]
"""`hidden text`: people do not see it. `control text`: it speaks to a language model. `rare word`: nearly no document knows
it, and one that is suspicious does."""


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of characters in a text.

    Attributes:
        start: Offset of the first character.
        end: Offset after the last character.
    """

    start: int
    end: int


@dataclass(frozen=True)
class Document:
    """A text that can be retrieved.

    Attributes:
        id: Unique name within a corpus; not empty.
        text: What is embedded, judged and returned.
        metadata: Anything else. The key `source` is the provenance: who brought the document in, as recorded at ingestion.
    """

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what could not be named in an error message later.

        Raises:
            InvalidInputError: If `id` is not a non-empty string or `text` is not a string.
        """
        if not isinstance(self.id, str) or not self.id:
            raise InvalidInputError(f"a document's id must be a non-empty string, not {self.id!r}")
        if not isinstance(self.text, str):
            raise InvalidInputError(f"document {self.id!r}: text must be a string, not {type(self.text).__name__}")


def rankable(score: object) -> bool:
    """Whether something is a finite number, and no larger than a float."""
    known = type(score) is float or isinstance(score, Real)  # the first is ten times as fast
    try:
        return known and math.isfinite(score)  # type: ignore[arg-type]
    except OverflowError:
        return False


@dataclass(frozen=True)
class Hit:
    """A document as a retriever ranked it.

    Attributes:
        document: The document.
        score: The retriever's score, or that of the defense that ranked last; higher is better. Finite.
    """

    document: Document
    score: float

    def __post_init__(self) -> None:
        """Refuse a score that cannot be ranked.

        Raises:
            InvalidInputError: If `score` is not finite.
        """
        if not rankable(self.score):
            raise InvalidInputError(f"document {self.document.id!r}: score must be finite, not {self.score!r}")

    def with_text(self, text: str) -> Hit:
        """The hit with another form of its document's text."""
        return self if text == self.document.text else replace(self, document=replace(self.document, text=text))


@dataclass(frozen=True)
class Evidence:
    """What is computed from one text before any query.

    Attributes:
        spans: For each row of `vectors`, the ranges of the canonical text that it covers (fragments) or lacks (masks).
        vectors: Unit vectors, shape (n, d).
    """

    spans: tuple[tuple[Span, ...], ...]
    vectors: Vectors

    @cached_property
    def gram(self) -> Vectors:
        """Inner products of the rows, shape (n, n); computed once."""
        return self.vectors @ self.vectors.T


@dataclass(frozen=True)
class Verdict:
    """What one defense decided on one candidate, and why.

    Attributes:
        document_id: The candidate.
        defense: Name of the defense.
        action: What was decided.
        reason: Why, in a sentence for people.
        rank_before: Rank among the candidates this defense was given; 1 is best.
        rank_after: Rank among those it let pass; None if it dropped the candidate.
        signals: The numbers behind the decision, by name.
        spans: Ranges of the text that the reason is about, as the wrapped retriever returned it (see `GuardedResult.candidates`).
        suspicion: How suspicious the candidate is on this defense's own scale, higher is more; None where it has no such scale.
    """

    document_id: str
    defense: str
    action: Action
    reason: str
    rank_before: int
    rank_after: int | None
    signals: Mapping[str, float] = field(default_factory=dict)
    spans: tuple[Span, ...] = ()
    suspicion: float | None = None


@dataclass(frozen=True)
class Certificate:
    """A bound that holds by construction, whatever the attacker writes.

    Attributes:
        defense: Name of the defense that gives it.
        bound: The certified number; 0 certifies nothing.
        statement: What `bound` means, in a sentence for people.
        assumption: What must be true for the statement to hold.
    """

    defense: str
    bound: int
    statement: str
    assumption: str


ContestKind: TypeAlias = Literal["number", "date", "yes-no"]
"""What a query can ask for so that answers can be compared."""


@dataclass(frozen=True)
class Side:
    """One answer to a contested query, and who gives it.

    Attributes:
        answer: As the best ranked of these documents words it; "yes" or "no" to a question of yes or no.
        document_ids: The documents that give it, best first.
        sources: Their sources, each once.
        spans: For each document, where it gives the answer: a range of the text as the wrapped retriever returned it (see
            `GuardedResult.candidates`).
    """

    answer: str
    document_ids: tuple[str, ...]
    sources: tuple[str, ...]
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Contest:
    """Results of different sources answer the query differently. Which is right is not known, nor whether one lies.

    Attributes:
        kind: What the query asks for.
        sides: At least two, those with the most sources first, then by rank.
        statement: The same in a sentence for people.
    """

    kind: ContestKind
    sides: tuple[Side, ...]
    statement: str


@dataclass(frozen=True)
class QueryFinding:
    """Something in the query itself that looks like part of an attack; told, never acted upon.

    Attributes:
        kind: What it is, see `FindingKind`.
        span: Where it is, in the query as `GuardedRetriever` was asked it (a defense called directly: as it was given).
        text: What stands there.
        reason: Why it is told, in a sentence for people.
    """

    kind: FindingKind
    span: Span
    text: str
    reason: str


@dataclass(frozen=True)
class GuardedResult(Sequence[Hit]):
    """The answer to one query, with everything that was not returned and why. As a sequence, it is `kept`.

    `kept`, `reserve` and `removed` are disjoint and together hold every candidate (`RAGPartSearch` lists those it names).

    Attributes:
        query: The query's text.
        k: How many hits were asked for.
        candidates: What was judged, in the order of the wrapped retriever and with its own texts; the other hits have
            canonical texts, which are the ones judged.
        kept: At most k hits, best first.
        reserve: What passed but ranks below k, best first.
        removed: What a defense dropped.
        verdicts: One for each defense and candidate it was given, defenses in their order, candidates in the order they came.
        certificates: What holds for this result by construction.
        degraded: Why the result is less guarded than configured, one sentence for each defense that failed or was not done by
            the deadline, under a policy that explicitly lets that pass; empty when every defense ran.
        contests: What kept hits of different sources disagree about (see `ragguard.retriever.contested`); empty where nothing was
            found.
        query_findings: What in the query itself looks like part of an attack; the ranking does not depend on it.
        approximate: Why a document may be missing that an exhaustive search would have found; empty where none can be, or where a
            retriever of yours searched (see `RAGPartSearch`).
    """

    query: str
    k: int
    candidates: tuple[Hit, ...]
    kept: tuple[Hit, ...]
    reserve: tuple[Hit, ...] = ()
    removed: tuple[Hit, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    degraded: tuple[str, ...] = ()
    contests: tuple[Contest, ...] = ()
    query_findings: tuple[QueryFinding, ...] = ()
    approximate: str = ""

    @property
    def lost(self) -> tuple[Hit, ...]:
        """Hits of the undefended top k that were not kept, as the wrapped retriever scored them."""
        kept = {hit.document.id for hit in self.kept}
        return tuple(hit for hit in self.candidates[: self.k] if hit.document.id not in kept)

    def verdicts_on(self, document_id: str) -> tuple[Verdict, ...]:
        """All verdicts on one candidate, in the order of the defenses."""
        return tuple(verdict for verdict in self.verdicts if verdict.document_id == document_id)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...
    def __getitem__(self, index: int | slice) -> Hit | tuple[Hit, ...]:
        return self.kept[index]

    def __len__(self) -> int:
        return len(self.kept)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.kept)
