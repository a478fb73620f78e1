"""The wrapper: over-fetch, defend, fill up again, report."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import AbstractContextManager
from functools import partial

from ragguard.checks import positive, query_text
from ragguard.errors import DeadlineExceededError, DefenseError, InvalidInputError, RAGGuardError
from ragguard.protocols import Defense, Retriever
from ragguard.retriever import deadline
from ragguard.retriever.accounting import (
    check_complete,
    contests_in_originals,
    retriever_failed,
    to_original,
    unique_hits,
    with_query_findings,
)
from ragguard.retriever.observing import Observers
from ragguard.retriever.policy import GuardPolicy
from ragguard.retriever.progress import Progress, watched
from ragguard.types import Certificate, GuardedResult, Hit, QueryFinding, Verdict

SEARCH = "search"
"""Name of the stage in which the wrapped retriever works."""


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
        original_query, query, k = query, query_text(query), positive(k)
        with self._watched(original_query, k) as progress:
            result = self._in_time(query, k, progress)
            progress.result = with_query_findings(result, original_query)
            return progress.result

    async def aretrieve(self, query: str, k: int = 10) -> GuardedResult:
        """As `retrieve`, without blocking the event loop: the retriever is awaited, defenses run in a thread."""
        original_query, query, k = query, query_text(query), positive(k)
        with self._watched(original_query, k) as progress:
            work = asyncio.ensure_future(self._aretrieve(query, k, progress))
            try:
                done, _ = await asyncio.wait({work}, timeout=self.policy.deadline_s)
            finally:
                work.cancel()  # no effect on what is done; ends what is late, or whose caller was cancelled
            result = work.result() if done else self._too_late(progress)
            progress.result = with_query_findings(result, original_query)
            return progress.result

    def _watched(self, original_query: str, k: int) -> AbstractContextManager[Progress]:
        return watched(self.observers, original_query, k, self._defenses, self.policy)

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
                    retrieved = self._retriever.retrieve(query, depth)
            except Exception as error:
                raise retriever_failed(error) from error
            result = self._defend(query, retrieved, k, progress)
            if not self._fetch_more(result, len(retrieved), depth):
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
                    retrieved = await aretrieve(query, depth)
            except Exception as error:
                raise retriever_failed(error) from error
            result = await deadline.in_thread(partial(self._defend, query, retrieved, k, progress))
            if not self._fetch_more(result, len(retrieved), depth):
                return result
            progress.settle(result)
            depth = min(2 * depth, self.policy.max_overfetch * k)

    def _fetch_more(self, result: GuardedResult, fetched: int, depth: int) -> bool:
        return len(result.kept) < result.k and fetched >= depth and depth < self.policy.max_overfetch * result.k

    def _defend(self, query: str, retrieved: object, k: int, progress: Progress) -> GuardedResult:
        candidates, forms = unique_hits(retrieved)
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
                degraded=(*degraded, *(f"{defense.name} did not run: the deadline passed" for defense in unfinished)),
                contests=contests_in_originals(query, kept, forms) if self.policy.contests else (),
                query_findings=tuple(findings),
            )

        for place, defense in enumerate(self._defenses):
            if self.policy.on_deadline == "degrade":
                progress.offer(answer(self._defenses[place:]))
            try:
                with progress.stage(defense.name):
                    result = defense(query, passed, k)
                check_complete(defense, passed, result)
                explained = [to_original(verdict, forms[verdict.document_id]) for verdict in result.verdicts]
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
