"""The guard as a node postprocessor, for those who keep their own retriever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.retrievers.ragguard.nodes import NodeGuard, guarded_nodes

from ragguard.errors import InvalidInputError
from ragguard.protocols import Defense
from ragguard.retriever import GuardPolicy


class RAGGuardPostprocessor(BaseNodePostprocessor):
    """Judges what a retriever found, before a response is made of it. Put it first: later postprocessors may add nodes."""

    _guard: NodeGuard = PrivateAttr()

    def __init__(self, defenses: Sequence[Defense], *, top_k: int = 5, policy: GuardPolicy | None = None, **kwargs: Any) -> None:
        """Configure.

        Args:
            defenses: Applied in turn.
            top_k: How many nodes to return; let the retriever find about four times as many.
            policy: Deadline for the defenses, and what happens when one fails; None takes the defaults.
            kwargs: For `BaseNodePostprocessor`: callback_manager.

        Raises:
            InvalidInputError: If there are no defenses, or `top_k` is below 1.
        """
        super().__init__(**kwargs)
        self._guard = NodeGuard(defenses, policy, top_k)

    @classmethod
    def class_name(cls) -> str:
        """Name in LlamaIndex's registries."""
        return "RAGGuardPostprocessor"

    def _postprocess_nodes(self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None) -> list[NodeWithScore]:
        query = _query(query_bundle)
        return guarded_nodes(self._guard.guard(query, nodes), nodes)

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query(query_bundle)
        return guarded_nodes(await self._guard.aguard(query, nodes), nodes)


def _query(query_bundle: QueryBundle | None) -> str:
    if query_bundle is None:
        raise InvalidInputError("the guard judges nodes against a query: pass query_bundle or query_str")
    return query_bundle.query_str
