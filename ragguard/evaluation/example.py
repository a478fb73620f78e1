"""One query before and after, ready to be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ragguard.attacks import Target
from ragguard.types import GuardedResult, Hit, Span


@dataclass(frozen=True)
class ShownHit:
    """A result as it is shown in an example.

    Attributes:
        rank: Place among the results.
        poisoned: Whether it was planted.
        relevant: Whether it answers the question.
        parts: The text in pieces; a piece is marked where the guard found what carried the similarity.
    """

    rank: int
    poisoned: bool
    relevant: bool
    parts: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Example:
    """One question, before and after.

    Attributes:
        question: The query.
        answer: The correct answer.
        before: The undefended results.
        after: The guarded results.
        defense: Which defense answered.
        reason: What the defense said of the planted document.
        stopped: Whether the defense kept every planted document out.
    """

    question: str
    answer: str
    before: tuple[ShownHit, ...]
    after: tuple[ShownHit, ...]
    defense: str
    reason: str
    stopped: bool


def show(
    hits: Sequence[Hit], planted: AbstractSet[str], relevant: AbstractSet[str], marks: Mapping[str, Sequence[Span]]
) -> tuple[ShownHit, ...]:
    """Results ready to be shown.

    Args:
        hits: Best first.
        planted: Ids of poisoned documents.
        relevant: Ids of documents that answer the question.
        marks: By id, what to mark in the text.
    """
    shown = []
    for rank, hit in enumerate(hits, 1):
        text, position, parts = hit.document.text, 0, []
        for span in marks.get(hit.document.id, ()):
            parts += [(text[position : span.start], False), (text[span.start : span.end], True)]
            position = span.end
        parts.append((text[position:], False))
        pieces = tuple(part for part in parts if part[0])
        shown.append(ShownHit(rank, hit.document.id in planted, hit.document.id in relevant, pieces))
    return tuple(shown)


def explained(
    target: Target, query: str, poisoned: AbstractSet[str], results: Mapping[str, Sequence[Hit]], k: int
) -> Example | None:
    """The query before and after, from the first guard that names spans of a poisoned document; None if there is none.

    Args:
        target: The query under attack.
        query: Its text, as the victim asks it.
        poisoned: Ids of the documents planted against it.
        results: What each system returned, by its name.
        k: Results per query.
    """
    for name, result in results.items():
        if not isinstance(result, GuardedResult):
            continue
        verdicts = [verdict for verdict in result.verdicts if verdict.spans and verdict.document_id in poisoned]
        marks = {verdict.document_id: verdict.spans for verdict in verdicts}
        if poisoned.isdisjoint(hit.document.id for hit in result.candidates[:k]) or not marks:
            continue
        relevant = frozenset(document.id for document in target.relevant)
        return Example(
            question=query,
            answer=target.correct,
            before=show(result.candidates[:3], poisoned, relevant, marks),
            after=show(result.kept[:3], poisoned, relevant, {}),
            defense=name,
            reason=verdicts[0].reason,
            stopped=poisoned.isdisjoint(hit.document.id for hit in result.kept),
        )
    return None
