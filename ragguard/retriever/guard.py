"""Defenses as a function of a query and hits."""

from __future__ import annotations

from collections.abc import Sequence

from ragguard.protocols import Defense, Retriever
from ragguard.retriever.guarded_retriever import GuardedRetriever
from ragguard.retriever.observing import Observers
from ragguard.retriever.policy import GuardPolicy
from ragguard.types import GuardedResult, Hit


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
