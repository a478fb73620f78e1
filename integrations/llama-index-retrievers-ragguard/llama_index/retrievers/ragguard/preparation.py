"""A step of an ingestion pipeline: what judging will need is computed there, so that queries find it ready."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, TransformComponent
from llama_index.retrievers.ragguard.guard import NodeGuard
from llama_index.retrievers.ragguard.live import Guarding

from ragguard.protocols import Defense
from ragguard.retriever import deadline


class RAGGuardPreparation(Guarding, TransformComponent):
    """Computes the evidence of nodes and passes them on unchanged. Put it last: metadata added later changes what is judged.

    Evidence is kept where the defenses keep theirs, so give them the store that judges at query time, too (`SQLStore` outlives
    the process). That store alone knows what is there: it is asked once for 512 nodes, and only what it lacks is embedded. A
    pipeline's cache knows nothing of it, so what another object of this class prepared is not skipped on the cache's word.
    """

    _own: str = PrivateAttr(default_factory=lambda: uuid4().hex)

    def __init__(self, defenses: Sequence[Defense]) -> None:
        """Configure.

        Args:
            defenses: Those that will judge.

        Raises:
            InvalidInputError: If there are no defenses, or something is no defense.
        """
        NodeGuard(defenses)  # refuses what is no defense
        super().__init__(defenses=defenses)

    @classmethod
    def class_name(cls) -> str:
        """Name in LlamaIndex's registries."""
        return "RAGGuardPreparation"

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """The names of the defenses, and what tells this object from others in the hash of a pipeline's cache."""
        return {**super().to_dict(**kwargs), "prepared_by": self._own}

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:  # noqa: ARG002
        """Prepare, in blocks.

        Args:
            nodes: What will be retrieved; those without text are passed on, too, and are never returned by the guard.
            kwargs: The pipeline's; none is used.

        Raises:
            InvalidInputError: If something is not a node, or has no id.
            EncoderError: If the encoder fails.
        """
        NodeGuard(self.defenses).prepare(nodes)
        return nodes

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """As a call, without blocking the event loop."""
        return await deadline.in_thread(lambda: self(nodes, **kwargs))
