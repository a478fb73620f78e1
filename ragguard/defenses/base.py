"""What every defense of this package has in common: it judges and orders, the base class checks and explains."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from ragguard.checks import positive
from ragguard.errors import DefenseError, InvalidInputError
from ragguard.protocols import Defense
from ragguard.text import canonical, words
from ragguard.types import Action, Certificate, Document, GuardedResult, Hit, Span, Verdict

MAX_WORDS = 4096
"""Longest document that is judged, in words, so that the work on a hostile one is bounded; about twenty embeddings' worth."""

MAX_CHARACTERS = 8 * MAX_WORDS
"""Likewise in characters; English has six to a word."""


@dataclass(frozen=True)
class Judgement:
    """What a defense says of one candidate.

    Attributes:
        position: Which candidate, by its place among those given to `judge`.
        score: The score it is ranked by from now on.
        reason: Why, in a sentence for people.
        drop: Whether it must never be returned.
        signals: The numbers behind it.
        spans: Ranges of the canonical text that it is about.
        suspicion: See `Verdict`.
    """

    position: int
    score: float
    reason: str
    drop: bool = False
    signals: Mapping[str, float] = field(default_factory=dict)
    spans: tuple[Span, ...] = ()
    suspicion: float | None = None


class BaseDefense(ABC):
    """Turns judgements into a result in which every candidate is accounted for.

    A subclass sets `name` and implements `judge`. Candidates that cannot be judged (no words, too many words) are dropped here:
    the guard fails closed.
    """

    name: str

    def __call__(self, query: str, hits: Sequence[Hit], k: int) -> GuardedResult:
        """Judge the candidates of one query.

        Args:
            query: The query's text.
            hits: Candidates, best first, ids unique.
            k: How many to keep, at least 1.

        Returns:
            Kept, reserve and removed hits, with a verdict on each.

        Raises:
            InvalidInputError: If `k` is below 1, or two candidates have the same id.
            DefenseError: If a subclass does not judge every candidate exactly once, or not in the order of its scores.
            EncoderError: If the encoder fails.
        """
        positive(k)
        repeated = [name for name, count in Counter(hit.document.id for hit in hits).items() if count > 1]
        if repeated:
            raise InvalidInputError(f"candidates must have unique ids; repeated: {repeated}")
        forms = [canonical(hit.document.text) for hit in hits]
        refused = {i: reason for i, form in enumerate(forms) if (reason := unfit(form.text))}
        fit = [i for i in range(len(hits)) if i not in refused]
        judged = self.judge(query, [hits[i].with_text(forms[i].text) for i in fit], k) if fit else []
        if sorted(j.position for j in judged) != list(range(len(fit))):
            raise DefenseError(f"{self.name} must judge each of {len(fit)} candidates exactly once")
        if not all(math.isfinite(judgement.score) for judgement in judged):
            raise DefenseError(f"{self.name} must give every candidate a finite score")
        verdicts: dict[int, Verdict] = {
            i: Verdict(hits[i].document.id, self.name, "drop", reason, i + 1, None) for i, reason in refused.items()
        }
        passed: list[Hit] = []
        for judgement in judged:
            i = fit[judgement.position]
            if not judgement.drop:
                passed.append(hits[i] if hits[i].score == judgement.score else Hit(hits[i].document, judgement.score))
            rank = None if judgement.drop else len(passed)
            action: Action = "drop" if rank is None else "demote" if i < k < rank else "keep"
            spans = tuple(forms[i].to_original(span) for span in judgement.spans)
            verdicts[i] = Verdict(
                hits[i].document.id,
                self.name,
                action,
                judgement.reason,
                i + 1,
                rank,
                judgement.signals,
                spans,
                judgement.suspicion,
            )
        if any(better.score < worse.score for better, worse in pairwise(passed)):
            raise DefenseError(f"{self.name} must order its judgements by score, best first")
        return GuardedResult(
            query=query,
            k=k,
            candidates=tuple(hits),
            kept=tuple(passed[:k]),
            reserve=tuple(passed[k:]),
            removed=tuple(hits[i] for i in sorted(verdicts) if verdicts[i].action == "drop"),
            verdicts=tuple(verdicts[i] for i in sorted(verdicts)),
            certificates=self.certificates(len(fit), k),
        )

    @abstractmethod
    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:
        """Judge candidates whose texts are canonical and have words.

        Args:
            query: The query's text.
            hits: At least one candidate, best first.
            k: How many will be kept.

        Returns:
            One judgement for each candidate, in the new order, scores falling.
        """

    def prepare(self, documents: Sequence[Document]) -> None:  # noqa: B027
        """Compute at ingestion what `judge` will need, so that queries find it ready. Does nothing by default.

        Raises:
            EncoderError: If the encoder fails.
        """

    def describe(self) -> Mapping[str, Any]:
        """What verdicts depend on besides query, candidates and code, as JSON: for audit records. Here: the settings."""
        settings = getattr(self, "settings", None)
        return {"settings": settings.model_dump(mode="json")} if isinstance(settings, BaseModel) else {}

    def certificates(self, candidates: int, k: int) -> tuple[Certificate, ...]:  # noqa: ARG002
        """What holds by construction for a result from that many candidates. Nothing by default."""
        return ()


def prepare(defenses: Sequence[Defense], documents: Sequence[Document]) -> None:
    """Have every defense compute at ingestion what queries will need; those that know nothing to prepare are left out.

    Raises:
        EncoderError: If the encoder fails.
    """
    for defense in defenses:
        if isinstance(defense, BaseDefense):
            defense.prepare(documents)


def judgeable(documents: Sequence[Document]) -> list[str]:
    """Canonical texts of the documents that a defense can judge: some words, and not too many.

    Raises:
        InvalidInputError: If something is not a document.
    """
    if not isinstance(documents, Sequence) or not all(isinstance(document, Document) for document in documents):
        raise InvalidInputError(f"expected a sequence of Document, not {documents!r:.200}")
    return [text for document in documents if not unfit(text := canonical(document.text).text)]


def unfit(text: str) -> str:
    """Why a canonical text cannot be judged, in a sentence for people; empty if it can."""
    if len(text) > MAX_CHARACTERS:
        return f"The text has {len(text)} characters, more than the {MAX_CHARACTERS} that are judged; split it at ingestion."
    if not text.strip():
        return "The text has no words, so nothing can be judged."
    if len(text) > MAX_WORDS and (count := len(words(text))) > MAX_WORDS:
        return f"The text has {count} words, more than the {MAX_WORDS} that are judged; split it at ingestion."
    return ""
