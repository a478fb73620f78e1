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
from ragguard.defenses.releases import MemoryReleases, Released, Releases
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
    the guard fails closed. What somebody has released is not judged: it keeps its place among what is.

    Attributes:
        name: For verdicts and tables.
        judges_content: Whether it judges what a document says; what judges only by source or list knows no releases.
        releases: Where releases are kept, such as a `Quarantine`, which several defenses may share; None until there is one.
    """

    name: str
    judges_content: bool = True
    releases: Releases | None = None

    def release(self, document: Document, actor: str, reason: str) -> None:
        """Let a document pass from now on, as long as its text stays what it is; by whatever id it is found.

        Without `releases` that holds in this object, and is forgotten with it.

        Args:
            document: With the text as the retriever returns it.
            actor: Who decides.
            reason: Why, in a sentence for people.

        Raises:
            InvalidInputError: If this defense does not judge content, the text is released already or cannot be judged at all, or
                who or why is missing.
            StoreError: If the release cannot be kept.
        """
        if not self.judges_content:
            raise InvalidInputError(f"{self.name} does not judge what a document says, so there is nothing to release from")
        if isinstance(document, Document) and (why := unfit(canonical(document.text).text)):
            raise InvalidInputError(f"document {document.id!r} cannot be released: {why}")
        self.releases = MemoryReleases() if self.releases is None else self.releases
        self.releases.let(document, actor, reason)

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
        known = self.releases.released({hit.document.text for hit in hits}) if self.releases and self.judges_content else {}
        released = {i: known[hit.document.text] for i, hit in enumerate(hits) if hit.document.text in known and i not in refused}
        fit = [i for i in range(len(hits)) if i not in refused and i not in released]
        judged = self.judge(query, [hits[i].with_text(forms[i].text) for i in fit], k) if fit else []
        if sorted(j.position for j in judged) != list(range(len(fit))):
            raise DefenseError(f"{self.name} must judge each of {len(fit)} candidates exactly once")
        if not all(math.isfinite(judgement.score) for judgement in judged):
            raise DefenseError(f"{self.name} must give every candidate a finite score")
        verdicts: dict[int, Verdict] = {
            i: Verdict(hits[i].document.id, self.name, "drop", reason, i + 1, None) for i, reason in refused.items()
        }
        passed: list[Hit] = []
        for i, judgement in _with_released([(fit[judgement.position], judgement) for judgement in judged], released, hits):
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


def _with_released(
    judged: list[tuple[int, Judgement]], released: Mapping[int, Released], hits: Sequence[Hit]
) -> list[tuple[int, Judgement]]:
    """All judgements in their order, those of released candidates behind as many of the others that pass as stood before them."""
    order = list(judged)
    for i, release in sorted(released.items()):
        place = count = 0
        before = sum(j < i and not judgement.drop for j, judgement in order)
        while count < before:
            count += not order[place][1].drop
            place += 1
        highest = next((judgement.score for _, judgement in reversed(order[:place]) if not judgement.drop), math.inf)
        lowest = next((judgement.score for _, judgement in order[place:] if not judgement.drop), -math.inf)
        reason = f"Released by {release.actor} on {release.at:%Y-%m-%d}: {release.reason}"
        order.insert(place, (i, Judgement(i, min(max(hits[i].score, lowest), highest), reason)))
    return order


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
