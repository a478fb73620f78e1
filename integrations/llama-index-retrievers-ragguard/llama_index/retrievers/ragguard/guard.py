"""The guard over nodes: what is judged is what the index embedded, and what the LLM will read."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore
from llama_index.retrievers.ragguard.events import tell
from llama_index.retrievers.ragguard.nodes import documents_of, guarded_nodes, hits, text_of

from ragguard.checks import positive
from ragguard.defenses import prepare
from ragguard.protocols import Defense
from ragguard.retriever import Guard, GuardPolicy, Observers
from ragguard.retriever.progress import Progress, watched
from ragguard.types import GuardedResult, Hit

JUDGING = "judging"
"""Name of the stage in which defenses work; the nodes are judged in each reading of them."""


class NodeGuard:
    """Applies defenses to LlamaIndex nodes."""

    def __init__(
        self,
        defenses: Sequence[Defense],
        policy: GuardPolicy | None = None,
        top_k: int = 5,
        texts_in_events: bool = False,
        observers: Observers | None = None,
    ) -> None:
        """Configure.

        Args:
            defenses: Applied in turn.
            policy: Deadline and what happens on failure; None takes the defaults.
            top_k: How many nodes to keep.
            texts_in_events: Whether `GuardEvent` holds the query and the texts removed.
            observers: Are told what becomes of each query.

        Raises:
            InvalidInputError: If there are no defenses, `top_k` is below 1, or `observers` is something else.
        """
        self._observers = observers
        self._defenses, self._top_k, self._texts = defenses, positive(top_k, "top_k"), texts_in_events
        self.policy = policy or GuardPolicy()
        Guard(defenses, self.policy, observers=observers)  # refuses what is none

    def prepare(self, nodes: Sequence[BaseNode]) -> None:
        """Compute at ingestion what judging these nodes will need, in every reading that is judged.

        Raises:
            InvalidInputError: If something is not a node, or has no id.
            EncoderError: If the encoder fails.
        """
        documents = documents_of(nodes)
        for mode in _readings(nodes):
            prepare(self._defenses, documents if mode is MetadataMode.EMBED else documents_of(nodes, mode))

    def end(self) -> float | None:
        """When a query that starts now must have its answer, by the monotonic clock; None is never."""
        return None if self.policy.deadline_s is None else time.monotonic() + self.policy.deadline_s

    def guard(self, query: str, nodes: Sequence[NodeWithScore], end: float | None = None) -> GuardedResult:
        """Judge nodes; the candidates are the EMBED-mode texts.

        Where another reading of a node (what the LLM reads, or its bare text) holds text that the first does not, all nodes are
        judged in that reading, too: what is dropped in any reading is dropped, and the worst rank counts.

        Args:
            query: What was asked.
            nodes: Candidates, best first.
            end: See `end`; None starts the policy's deadline now.

        Raises:
            RetrieverError: If something is not a node with a score, or a score is not finite.
            DeadlineExceededError: If all readings together take longer than the policy's deadline.
        """
        end = end or self.end()
        with self._watched(query) as progress:
            with progress.stage(JUDGING):
                results = [self._guard(end)(query, reading, self._top_k) for reading in _candidates(nodes)]
            return self._announced(_worst(results), progress)

    async def aguard(self, query: str, nodes: Sequence[NodeWithScore], end: float | None = None) -> GuardedResult:
        """As `guard`, without blocking the event loop."""
        end = end or self.end()
        with self._watched(query) as progress:
            with progress.stage(JUDGING):
                results = [await self._guard(end).acall(query, reading, self._top_k) for reading in _candidates(nodes)]
            return self._announced(_worst(results), progress)

    def kept(self, query: str, nodes: Sequence[NodeWithScore], end: float | None = None) -> list[NodeWithScore]:
        """Copies of the nodes that `guard` keeps, with their verdicts."""
        return guarded_nodes(self.guard(query, nodes, end), nodes)

    async def akept(self, query: str, nodes: Sequence[NodeWithScore], end: float | None = None) -> list[NodeWithScore]:
        """As `kept`, without blocking the event loop."""
        return guarded_nodes(await self.aguard(query, nodes, end), nodes)

    def _watched(self, query: str) -> AbstractContextManager[Progress]:
        return watched(self._observers, query, self._top_k, self._defenses, self.policy)

    def _announced(self, result: GuardedResult, progress: Progress) -> GuardedResult:
        progress.result = result
        tell(result, progress.seconds, self._texts)
        return result

    def _guard(self, end: float | None) -> Guard:
        left = None if end is None else max(end - time.monotonic(), 1e-3)
        return Guard(self._defenses, self.policy.model_copy(update={"deadline_s": left}))


def _candidates(nodes: Sequence[NodeWithScore]) -> Iterator[list[Hit]]:
    """The nodes as hits, once for each reading."""
    first = hits(nodes)
    yield first
    for mode in _readings([item.node for item in nodes])[1:]:
        yield hits(nodes, mode)


def _readings(nodes: Sequence[BaseNode]) -> list[MetadataMode]:
    """EMBED, and the modes in which some node holds text that its EMBED-mode text does not."""
    more = [
        mode
        for mode in (MetadataMode.LLM, MetadataMode.NONE)
        if any(text_of(node, mode) not in text_of(node, MetadataMode.EMBED) for node in nodes)
    ]
    return [MetadataMode.EMBED, *more]


def _worst(results: Sequence[GuardedResult]) -> GuardedResult:
    """One result of several readings of the same nodes: dropped in any is dropped, and the worst rank counts."""
    first, others = results[0], results[1:]
    if not others:
        return first
    ranks = [{hit.document.id: rank for rank, hit in enumerate((*r.kept, *r.reserve))} for r in results]
    passed = [hit for hit in (*first.kept, *first.reserve) if all(hit.document.id in places for places in ranks)]
    late = [hit for hit in (*first.kept, *first.reserve) if hit not in passed]
    passed.sort(key=lambda hit: max(places[hit.document.id] for places in ranks))
    verdicts = [replace(v, reason=f"In another reading of the node: {v.reason}", spans=()) for r in others for v in r.verdicts]
    return replace(
        first,
        kept=tuple(passed[: first.k]),
        reserve=tuple(passed[first.k :]),
        removed=(*first.removed, *late),
        verdicts=(*first.verdicts, *verdicts),
        degraded=tuple(dict.fromkeys(reason for r in results for reason in r.degraded)),
    )
