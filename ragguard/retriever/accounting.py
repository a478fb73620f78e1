"""What goes into defenses and what comes out of them, checked: nothing may be lost, added or changed on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from ragguard.errors import DefenseError, RAGGuardError, RetrieverError
from ragguard.protocols import Defense
from ragguard.retriever.contested import contests
from ragguard.signals.query import query_findings
from ragguard.text import Canonical, canonical
from ragguard.types import Contest, GuardedResult, Hit, Side, Verdict


def with_query_findings(result: GuardedResult, original_query: str) -> GuardedResult:
    """What is found in the query as it was asked, and what defenses found in its canonical form, at its place there."""
    form = canonical(original_query)
    by_defenses = []
    for finding in result.query_findings:
        span = form.to_original(finding.span)
        by_defenses.append(replace(finding, span=span, text=original_query[span.start : span.end]))
    return replace(result, query_findings=(*query_findings(original_query), *by_defenses))


def retriever_failed(error: Exception) -> RAGGuardError:
    """A typed error, whatever the wrapped retriever raised."""
    return error if isinstance(error, RAGGuardError) else RetrieverError(f"the wrapped retriever failed: {error!r}")


def unique_hits(retrieved: object) -> tuple[list[Hit], dict[str, Canonical]]:
    """Each document once, at its best place, and the canonical form of its text."""
    if not isinstance(retrieved, Sequence) or not all(isinstance(hit, Hit) for hit in retrieved):
        raise RetrieverError(f"the wrapped retriever must return a sequence of Hit, not {retrieved!r:.200}")
    for before, hit in pairwise(retrieved):
        if hit.score > before.score:
            raise RetrieverError(
                f"hits must come best first, but {hit.document.id!r} scores {hit.score:g} after {before.document.id!r} with "
                f"{before.score:g}; sort them, or give ranks where scores mean different things: 1, 1/2, 1/3"
            )
    hits: list[Hit] = []
    forms: dict[str, Canonical] = {}
    for hit in retrieved:
        form = canonical(hit.document.text)
        if hit.document.id not in forms:
            forms[hit.document.id] = form
            hits.append(hit)
        elif forms[hit.document.id].text != form.text:
            raise RetrieverError(f"the wrapped retriever returned two different texts under the id {hit.document.id!r}")
    return hits, forms


def to_original(verdict: Verdict, form: Canonical) -> Verdict:
    """A verdict whose spans point into the text as it came."""
    return replace(verdict, spans=tuple(form.to_original(span) for span in verdict.spans)) if verdict.spans else verdict


def contests_in_originals(query: str, kept: Sequence[Hit], forms: Mapping[str, Canonical]) -> tuple[Contest, ...]:
    """What kept hits disagree about, with spans that point into their texts as they came."""

    def original(side: Side) -> Side:
        where = zip(side.document_ids, side.spans, strict=True)
        return replace(side, spans=tuple(forms[name].to_original(span) for name, span in where))

    return tuple(replace(contest, sides=tuple(map(original, contest.sides))) for contest in contests(query, kept))


def check_complete(defense: Defense, candidates: Sequence[Hit], result: GuardedResult) -> None:
    """A third-party defense may not lose, add or change documents."""
    before = {hit.document.id: hit.document for hit in candidates}
    after = [hit.document for part in (result.kept, result.reserve, result.removed) for hit in part]
    once = len(after) == len(before) == len({document.id for document in after})
    if not once or not all(before.get(document.id) is document or before.get(document.id) == document for document in after):
        raise DefenseError(f"defense {defense.name!r} must account for every candidate exactly once, unchanged")
    if wrong := {verdict.document_id for verdict in result.verdicts} ^ before.keys():
        raise DefenseError(f"defense {defense.name!r} must give a verdict on every candidate and on no other: {sorted(wrong)}")
