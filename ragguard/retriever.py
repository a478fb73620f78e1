"""The wrapper: over-fetch, defend, fill up again, report."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ragguard import deadline
from ragguard.checks import positive, query_text
from ragguard.contested import contests
from ragguard.errors import DeadlineExceededError, DefenseError, InvalidInputError, RAGGuardError, RetrieverError
from ragguard.observing import Observers
from ragguard.progress import Progress, watched
from ragguard.protocols import Defense, Retriever
from ragguard.signals.query import query_findings
from ragguard.text import Canonical, canonical
from ragguard.types import Certificate, Contest, GuardedResult, Hit, QueryFinding, Side, Verdict

SEARCH = "search"
"""Name of the stage in which the wrapped retriever works."""


class GuardPolicy(BaseModel):
    """How the wrapper works.

    Attributes:
        overfetch: Candidates asked for, as a multiple of k; all our benchmarks judge 2. The work on a query grows with it.
        max_overfetch: Up to this multiple of k, more candidates are asked for while fewer than k are kept.
        deadline_s: Seconds that a query has; None waits.
        on_deadline: What happens after them. `raise`: DeadlineExceededError. `degrade`: the answer is what the defenses that were
            done by then let pass, marked degraded; an error still where the retriever has found nothing yet.
        fail_open: If a defense raises, go on without it and mark the result degraded. The default fails closed.
        contests: Say what kept hits of different sources disagree about; a fifth of a millisecond for ten hits
            (`benchmarks/results/contested.json`), next to nothing where the query asks for no number, date, yes or no.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    overfetch: int = Field(default=2, ge=1)
    max_overfetch: int = Field(default=16, ge=1)
    deadline_s: float | None = Field(default=None, gt=0)
    on_deadline: Literal["raise", "degrade"] = "raise"
    fail_open: bool = False
    contests: bool = True

    @model_validator(mode="after")
    def _room_to_fetch_more(self) -> GuardPolicy:
        if self.max_overfetch < self.overfetch:
            raise ValueError(f"max_overfetch={self.max_overfetch} must be at least overfetch={self.overfetch}")
        return self


class GuardedRetriever:
    """Any retriever, with defenses between it and whoever reads the results.

    Holds no state per query; safe to use from many threads if the retriever and the defenses are.
    """

    def __init__(
        self,
        retriever: Retriever,
        defenses: Sequence[Defense],
        policy: GuardPolicy | None = None,
        *,
        observers: Observers | None = None,
    ) -> None:
        """Wrap a retriever.

        Args:
            retriever: What finds candidates. If it has a method `aretrieve`, `aretrieve` here awaits it.
            defenses: Applied in turn; each judges what the one before let pass.
            policy: None takes the defaults.
            observers: Are told what becomes of each query, after it was answered; None tells nobody.

        Raises:
            InvalidInputError: If there are no defenses, or something is not a retriever, a defense, a policy or `Observers`.
        """
        if not isinstance(defenses, Sequence):
            raise InvalidInputError(f"defenses must be a list, not {type(defenses).__name__}")
        if not defenses:
            raise InvalidInputError("a guard without defenses guards nothing; pass at least one defense")
        if not callable(getattr(retriever, "retrieve", None)):
            raise InvalidInputError(f"{type(retriever).__name__} has no method retrieve(query, k)")
        for defense in defenses:
            if not isinstance(defense, Defense):
                raise InvalidInputError(f"{defense!r} is not a defense: it needs a name and __call__(query, hits, k)")
        if not isinstance(policy, GuardPolicy | None):
            raise InvalidInputError(f"policy must be a GuardPolicy, not {policy!r}")
        if not isinstance(observers, Observers | None):
            raise InvalidInputError(f"observers must be Observers([...]), not {observers!r:.200}")
        self._retriever = retriever
        self.observers = observers
        self._defenses = tuple(defenses)
        self.policy = policy or GuardPolicy()

    def retrieve(self, query: str, k: int = 10) -> GuardedResult:
        """The guarded top k, with everything that was not returned and why.

        Args:
            query: The query's text.
            k: Number of hits, at least 1.

        Returns:
            At most k hits; fewer where fewer of the first `max_overfetch` * k candidates pass.

        Raises:
            InvalidInputError: If `k` is below 1 or the query has no text.
            RetrieverError: If the retriever raises or returns something else than hits.
            DefenseError: If a defense raises (unless the policy fails open).
            DeadlineExceededError: If the deadline passes (unless the policy degrades then).
        """
        asked, query, k = query, query_text(query), positive(k)
        with self._watched(asked, k) as progress:
            found = self._in_time(query, k, progress)
            progress.result = _with_findings(found, asked)
            return progress.result

    async def aretrieve(self, query: str, k: int = 10) -> GuardedResult:
        """As `retrieve`, without blocking the event loop: the retriever is awaited, defenses run in a thread."""
        asked, query, k = query, query_text(query), positive(k)
        with self._watched(asked, k) as progress:
            work = asyncio.ensure_future(self._aretrieve(query, k, progress))
            try:
                done, _ = await asyncio.wait({work}, timeout=self.policy.deadline_s)
            finally:
                work.cancel()  # no effect on what is done; ends what is late, or whose caller was cancelled
            progress.result = _with_findings(work.result() if done else self._too_late(progress), asked)
            return progress.result

    def _watched(self, asked: str, k: int) -> AbstractContextManager[Progress]:
        return watched(self.observers, asked, k, self._defenses, self.policy)

    def _in_time(self, query: str, k: int, progress: Progress) -> GuardedResult:
        if self.policy.deadline_s is None:
            return self._retrieve(query, k, progress)
        future, give_up = deadline.start(lambda: self._retrieve(query, k, progress))
        try:
            return future.result(self.policy.deadline_s)
        except FutureTimeoutError:
            if future.done():
                raise  # a TimeoutError of the retriever's own
            give_up.set()
            return self._too_late(progress)

    def _too_late(self, progress: Progress) -> GuardedResult:
        if self.policy.on_deadline == "degrade" and progress.late is not None:
            return progress.late
        raise DeadlineExceededError(
            f"no guarded result within {self.policy.deadline_s} s; raise deadline_s or prepare evidence ahead"
        )

    def _retrieve(self, query: str, k: int, progress: Progress) -> GuardedResult:
        depth = self.policy.overfetch * k
        while True:
            try:
                with progress.stage(SEARCH):
                    found = self._retriever.retrieve(query, depth)
            except Exception as error:
                raise _retriever_failed(error) from error
            result = self._defend(query, found, k, progress)
            if not self._fetch_more(result, len(found), depth):
                return result
            progress.settle(result)
            depth = min(2 * depth, self.policy.max_overfetch * k)

    async def _aretrieve(self, query: str, k: int, progress: Progress) -> GuardedResult:
        aretrieve = getattr(self._retriever, "aretrieve", None)
        if aretrieve is None:
            return await deadline.in_thread(lambda: self._retrieve(query, k, progress))
        depth = self.policy.overfetch * k
        while True:
            try:
                with progress.stage(SEARCH):
                    found = await aretrieve(query, depth)
            except Exception as error:
                raise _retriever_failed(error) from error
            result = await deadline.in_thread(partial(self._defend, query, found, k, progress))
            if not self._fetch_more(result, len(found), depth):
                return result
            progress.settle(result)
            depth = min(2 * depth, self.policy.max_overfetch * k)

    def _fetch_more(self, result: GuardedResult, found: int, depth: int) -> bool:
        return len(result.kept) < result.k and found >= depth and depth < self.policy.max_overfetch * result.k

    def _defend(self, query: str, found: object, k: int, progress: Progress) -> GuardedResult:
        candidates, forms = _unique_hits(found)
        passed: Sequence[Hit] = [hit.with_text(forms[hit.document.id].text) for hit in candidates]
        removed: list[Hit] = []
        verdicts: list[Verdict] = []
        certificates: list[Certificate] = []
        degraded: list[str] = []
        findings: dict[QueryFinding, None] = {}

        def answer(unfinished: Sequence[Defense] = ()) -> GuardedResult:
            kept = tuple(passed[:k])
            return GuardedResult(
                query=query,
                k=k,
                candidates=tuple(candidates),
                kept=kept,
                reserve=tuple(passed[k:]),
                removed=tuple(removed),
                verdicts=tuple(verdicts),
                certificates=tuple(certificates),
                degraded=(*degraded, *(f"{one.name} did not run: the deadline passed" for one in unfinished)),
                contests=_contests(query, kept, forms) if self.policy.contests else (),
                query_findings=tuple(findings),
            )

        for place, defense in enumerate(self._defenses):
            if self.policy.on_deadline == "degrade":
                progress.offer(answer(self._defenses[place:]))
            try:
                with progress.stage(defense.name):
                    result = defense(query, passed, k)
                _check_complete(defense, passed, result)
                explained = [_to_original(verdict, forms[verdict.document_id]) for verdict in result.verdicts]
            except Exception as error:
                if not self.policy.fail_open:
                    if isinstance(error, RAGGuardError):
                        raise
                    raise DefenseError(f"defense {defense.name!r} failed: {error}") from error
                degraded.append(f"{defense.name} did not run: {error}")
                continue
            passed = (*result.kept, *result.reserve)
            removed.extend(result.removed)
            verdicts.extend(explained)
            certificates.extend(result.certificates)
            degraded.extend(result.degraded)
            findings.update(dict.fromkeys(result.query_findings))
        return answer()


class Guard:
    """Defenses as a function of a query and hits, for programs that retrieve in their own way.

    As `GuardedRetriever`, but for filling up: what was given is all there is.
    """

    def __init__(
        self, defenses: Sequence[Defense], policy: GuardPolicy | None = None, *, observers: Observers | None = None
    ) -> None:
        """Bind defenses.

        Args:
            defenses: Applied in turn; each judges what the one before let pass.
            policy: None takes the defaults.
            observers: Are told what becomes of each query, after it was answered; None tells nobody.

        Raises:
            InvalidInputError: If there are no defenses, or something is not a defense, a policy or `Observers`.
        """
        checked = GuardedRetriever(_Given([]), defenses, policy, observers=observers).policy
        self.observers = observers
        self.defenses = tuple(defenses)
        self.policy = checked.model_copy(update={"max_overfetch": checked.overfetch})  # what was given is all there is

    def __call__(self, query: str, hits: Sequence[Hit], k: int = 10) -> GuardedResult:
        """The guarded top k of these hits; errors are those of `GuardedRetriever.retrieve`.

        Args:
            query: The query's text.
            hits: Best first; about twice as many as are to be kept.
            k: How many to keep, at least 1.
        """
        return self.over(_Given(hits)).retrieve(query, k)

    async def acall(self, query: str, hits: Sequence[Hit], k: int = 10) -> GuardedResult:
        """As a call, without blocking the event loop."""
        return await self.over(_Given(hits)).aretrieve(query, k)

    def over(self, retriever: Retriever) -> GuardedRetriever:
        """The same around a retriever that is asked once a query, so that the deadline is for its search, too."""
        return GuardedRetriever(retriever, self.defenses, self.policy, observers=self.observers)


class _Given:
    """A retriever of hits that are already there."""

    def __init__(self, hits: Sequence[Hit]) -> None:
        self._hits = hits

    def retrieve(self, query: str, k: int) -> Sequence[Hit]:  # noqa: ARG002
        return self._hits


def _with_findings(result: GuardedResult, asked: str) -> GuardedResult:
    """What is found in the query as it was asked, and what defenses found in its canonical form, at its place there."""
    form = canonical(asked)
    found = []
    for one in result.query_findings:
        span = form.to_original(one.span)
        found.append(replace(one, span=span, text=asked[span.start : span.end]))
    return replace(result, query_findings=(*query_findings(asked), *found))


def _retriever_failed(error: Exception) -> RAGGuardError:
    return error if isinstance(error, RAGGuardError) else RetrieverError(f"the wrapped retriever failed: {error!r}")


def _unique_hits(found: object) -> tuple[list[Hit], dict[str, Canonical]]:
    """Each document once, at its best place, and the canonical form of its text."""
    if not isinstance(found, Sequence) or not all(isinstance(hit, Hit) for hit in found):
        raise RetrieverError(f"the wrapped retriever must return a sequence of Hit, not {found!r:.200}")
    for before, hit in pairwise(found):
        if hit.score > before.score:
            raise RetrieverError(
                f"hits must come best first, but {hit.document.id!r} scores {hit.score:g} after {before.document.id!r} with "
                f"{before.score:g}; sort them, or give ranks where scores mean different things: 1, 1/2, 1/3"
            )
    hits: list[Hit] = []
    forms: dict[str, Canonical] = {}
    for hit in found:
        form = canonical(hit.document.text)
        if hit.document.id not in forms:
            forms[hit.document.id] = form
            hits.append(hit)
        elif forms[hit.document.id].text != form.text:
            raise RetrieverError(f"the wrapped retriever returned two different texts under the id {hit.document.id!r}")
    return hits, forms


def _to_original(verdict: Verdict, form: Canonical) -> Verdict:
    return replace(verdict, spans=tuple(form.to_original(span) for span in verdict.spans)) if verdict.spans else verdict


def _contests(query: str, kept: Sequence[Hit], forms: Mapping[str, Canonical]) -> tuple[Contest, ...]:
    def original(side: Side) -> Side:
        where = zip(side.document_ids, side.spans, strict=True)
        return replace(side, spans=tuple(forms[name].to_original(span) for name, span in where))

    return tuple(replace(found, sides=tuple(map(original, found.sides))) for found in contests(query, kept))


def _check_complete(defense: Defense, given: Sequence[Hit], result: GuardedResult) -> None:
    """A third-party defense may not lose, add or change documents."""
    before = {hit.document.id: hit.document for hit in given}
    after = [hit.document for part in (result.kept, result.reserve, result.removed) for hit in part]
    once = len(after) == len(before) == len({document.id for document in after})
    if not once or not all(before.get(document.id) is document or before.get(document.id) == document for document in after):
        raise DefenseError(f"defense {defense.name!r} must account for every candidate exactly once, unchanged")
    if wrong := {verdict.document_id for verdict in result.verdicts} ^ before.keys():
        raise DefenseError(f"defense {defense.name!r} must give a verdict on every candidate and on no other: {sorted(wrong)}")
