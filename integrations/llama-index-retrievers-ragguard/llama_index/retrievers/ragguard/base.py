"""A retriever that guards another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.indices.base import BaseIndex
from llama_index.core.schema import BaseNode, IndexNode, NodeWithScore, QueryBundle, QueryType
from llama_index.retrievers.ragguard.nodes import NodeGuard, guarded_nodes

from ragguard.checks import positive
from ragguard.errors import RAGGuardError, RetrieverError
from ragguard.protocols import Defense
from ragguard.retriever import GuardPolicy
from ragguard.types import GuardedResult

MAX_NESTING = 16
"""Levels of IndexNodes that point to IndexNodes that are followed; a cycle ends here."""


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
        **kwargs: Any,
    ) -> None:
        """Wrap a retriever that returns more than `top_k` nodes, about four times as many.

        Args:
            retriever: Finds the candidates.
            defenses: Applied in turn.
            top_k: How many nodes to return.
            policy: Deadline for the defenses, and what happens when one fails; None takes the defaults.
            kwargs: For `BaseRetriever`: callback_manager, verbose.

        Raises:
            InvalidInputError: If there are no defenses, or `top_k` is below 1.
        """
        self._retriever = retriever
        self._guard = NodeGuard(defenses, policy, top_k)
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
        policy = kwargs.get("policy") or GuardPolicy()
        depth = policy.overfetch * positive(top_k, "top_k") if candidates is None else candidates
        return cls(index.as_retriever(similarity_top_k=depth), defenses, top_k=top_k, **kwargs)

    def prepare(self, nodes: Sequence[BaseNode]) -> None:
        """Compute ahead of queries what judging these nodes will need: call it with what you add to the index."""
        self._guard.prepare(nodes)

    def explain(self, query: QueryType) -> GuardedResult:
        """The whole result for a query: what was kept, what was not, and every verdict."""
        bundle = QueryBundle(query) if isinstance(query, str) else query
        return self._guard.guard(bundle.query_str, self._candidates(bundle))

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        nodes = self._candidates(query_bundle)
        return guarded_nodes(self._guard.guard(query_bundle.query_str, nodes), nodes)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        try:
            # a copy: retrievers write the embedding into the bundle they are given
            nodes = await self._retriever.aretrieve(replace(query_bundle))
            for _ in range(MAX_NESTING):
                nodes = await super()._ahandle_recursive_retrieval(query_bundle, nodes)
                if not _unresolved(nodes):
                    break
        except Exception as error:
            raise _failed(error) from error
        _check_resolved(nodes)
        return guarded_nodes(await self._guard.aguard(query_bundle.query_str, nodes), nodes)

    def _candidates(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        try:
            nodes = self._retriever.retrieve(replace(query_bundle))
            for _ in range(MAX_NESTING):
                nodes = super()._handle_recursive_retrieval(query_bundle, nodes)
                if not _unresolved(nodes):
                    break
        except Exception as error:
            raise _failed(error) from error
        _check_resolved(nodes)
        return nodes

    # What `_retrieve` returns is final: following nodes after it would bring in what nobody judged.
    def _handle_recursive_retrieval(self, query_bundle: QueryBundle, nodes: list[NodeWithScore]) -> list[NodeWithScore]:  # noqa: ARG002
        return nodes

    async def _ahandle_recursive_retrieval(
        self,
        query_bundle: QueryBundle,  # noqa: ARG002
        nodes: list[NodeWithScore],
    ) -> list[NodeWithScore]:
        return nodes


def _unresolved(nodes: Sequence[NodeWithScore]) -> list[str]:
    return [item.node.node_id for item in nodes if isinstance(item.node, IndexNode) and item.node.obj is not None]


def _check_resolved(nodes: Sequence[NodeWithScore]) -> None:
    if names := _unresolved(nodes):
        raise RetrieverError(f"nodes {names} point to other nodes more than {MAX_NESTING} levels deep, or in a circle")


def _failed(error: Exception) -> RAGGuardError:
    return error if isinstance(error, RAGGuardError) else RetrieverError(f"the wrapped retriever failed: {error!r}")
