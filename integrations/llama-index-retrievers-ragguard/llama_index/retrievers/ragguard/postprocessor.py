"""The guard as a node postprocessor, for those who keep their own retriever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.retrievers.ragguard.guard import NodeGuard
from llama_index.retrievers.ragguard.live import Guarding

from ragguard.errors import InvalidInputError
from ragguard.protocols import Defense
from ragguard.retriever import GuardPolicy, Observers


class RAGGuardPostprocessor(Guarding, BaseNodePostprocessor):
    """Judges what a retriever found, before a response is made of it. Put it first: later postprocessors may add nodes."""

    top_k: int = Field(description="How many nodes to return.")
    policy: GuardPolicy = Field(description="Deadline for the defenses, and what happens when one fails.")
    texts_in_events: bool = Field(description="Whether GuardEvent holds the query and the texts removed.")

    _observers: Observers | None = PrivateAttr(default=None)

    def __init__(
        self,
        defenses: Sequence[Defense],
        *,
        top_k: int = 5,
        policy: GuardPolicy | None = None,
        texts_in_events: bool = False,
        observers: Observers | None = None,
        **kwargs: Any,
    ) -> None:
        """Configure.

        Args:
            defenses: Applied in turn.
            top_k: How many nodes to return; let the retriever find about four times as many.
            policy: Deadline for the defenses, and what happens when one fails; None takes the defaults.
            texts_in_events: Whether `GuardEvent` holds the query and the texts removed.
            observers: Are told what becomes of each query; None tells nobody. Not written by `to_dict`: give them again.
            kwargs: For `BaseNodePostprocessor`: callback_manager.

        Raises:
            InvalidInputError: If there are no defenses, or `top_k` is below 1.
        """
        guard = NodeGuard(defenses, policy, top_k, texts_in_events, observers)
        fields = {"top_k": top_k, "policy": guard.policy, "texts_in_events": texts_in_events, **kwargs}
        super().__init__(defenses=defenses, **fields)
        self._observers = observers

    @classmethod
    def class_name(cls) -> str:
        """Name in LlamaIndex's registries."""
        return "RAGGuardPostprocessor"

    @property
    def _guard(self) -> NodeGuard:
        return NodeGuard(self.defenses, self.policy, self.top_k, self.texts_in_events, self._observers)

    def _postprocess_nodes(self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None) -> list[NodeWithScore]:
        query = _query(query_bundle)
        return self._guard.kept(query, nodes)

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query(query_bundle)
        return await self._guard.akept(query, nodes)


def _query(query_bundle: QueryBundle | None) -> str:
    if query_bundle is None:
        raise InvalidInputError("the guard judges nodes against a query: pass query_bundle or query_str")
    return query_bundle.query_str
