"""A retriever that guards another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.indices.base import BaseIndex
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle, QueryType
from llama_index.retrievers.ragguard.candidates import Candidates
from llama_index.retrievers.ragguard.guard import NodeGuard

from ragguard.protocols import Defense
from ragguard.retriever import GuardPolicy, Observers
from ragguard.retriever.adapting import depth
from ragguard.types import GuardedResult


class RAGGuardRetriever(BaseRetriever):
    """Wraps any LlamaIndex retriever; nothing it returns is unguarded.

    The wrapped retriever is used through its public `retrieve` / `aretrieve` and never changed: how many candidates there are is
    its own setting. Nodes that point to other objects are followed to the end before anything is judged. Returned nodes are
    copies, their verdicts under the metadata key `ragguard`, which is neither embedded nor prompted.
    """

    def __init__(
        self,
        retriever: BaseRetriever,
        defenses: Sequence[Defense],
        *,
        top_k: int = 5,
        policy: GuardPolicy | None = None,
        texts_in_events: bool = False,
        observers: Observers | None = None,
        **kwargs: Any,
    ) -> None:
        """Wrap a retriever that returns more than `top_k` nodes, about four times as many.

        Args:
            retriever: Finds the candidates.
            defenses: Applied in turn.
            top_k: How many nodes to return.
            policy: Deadline for retriever and defenses together, and what happens when a defense fails; None takes the defaults.
            texts_in_events: Whether `GuardEvent` holds the query and the texts removed.
            observers: Are told what becomes of each query, such as `Observers([AuditLog("audit.jsonl")])`; None tells nobody.
            kwargs: For `BaseRetriever`: callback_manager, object_map, objects, verbose.

        Raises:
            InvalidInputError: If there are no defenses, or `top_k` is below 1.
        """
        self._candidates = Candidates(retriever, **kwargs)
        self._guard = NodeGuard(defenses, policy, top_k, texts_in_events, observers)
        super().__init__(**kwargs)

    @classmethod
    def from_index(
        cls,
        index: BaseIndex[Any],
        defenses: Sequence[Defense],
        *,
        top_k: int = 5,
        candidates: int | None = None,
        **kwargs: Any,
    ) -> RAGGuardRetriever:
        """Guard an index.

        Args:
            index: Any index whose `as_retriever` takes `similarity_top_k`.
            defenses: Applied in turn.
            top_k: How many nodes to return.
            candidates: How many nodes are judged; None means the policy's `overfetch` (2) times `top_k`.
            kwargs: As for the constructor.
        """
        retriever = index.as_retriever(similarity_top_k=depth(top_k, candidates, kwargs.get("policy")))
        return cls(retriever, defenses, top_k=top_k, **kwargs)

    def prepare(self, nodes: Sequence[BaseNode]) -> None:
        """Compute ahead of queries what judging these nodes will need: call it with what you add to the index."""
        self._guard.prepare(nodes)

    def explain(self, query: QueryType) -> GuardedResult:
        """The whole result for a query: what was kept, what was not, and every verdict."""
        bundle = QueryBundle(query) if isinstance(query, str) else query
        end = self._guard.end()
        return self._guard.guard(bundle.query_str, self._candidates.find(bundle, end), end)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        end = self._guard.end()
        return self._guard.kept(query_bundle.query_str, self._candidates.find(query_bundle, end), end)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        end = self._guard.end()
        return await self._guard.akept(query_bundle.query_str, await self._candidates.afind(query_bundle, end), end)

    # What `_retrieve` returns is final: following nodes after it would bring in what nobody judged.
    def _handle_recursive_retrieval(self, query_bundle: QueryBundle, nodes: list[NodeWithScore]) -> list[NodeWithScore]:  # noqa: ARG002
        return nodes

    async def _ahandle_recursive_retrieval(
        self,
        query_bundle: QueryBundle,  # noqa: ARG002
        nodes: list[NodeWithScore],
    ) -> list[NodeWithScore]:
        return nodes
