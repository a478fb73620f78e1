"""A step of an ingestion pipeline: nodes are judged before they are embedded, and what is quarantined goes no further."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode, TransformComponent

from ragguard.errors import InvalidInputError
from ragguard.gate import Gate, GateVerdict
from ragguard.types import Document


class RAGGuardGate(TransformComponent):
    """Passes on the nodes that a gate admits or flags, unchanged. Put it behind the splitter, which is what will be retrieved.

    Any reader's documents can be judged, since a pipeline makes nodes of them. What is judged is the text that will be embedded.
    """

    _gate: Gate = PrivateAttr()
    _on_found: Callable[[Document, GateVerdict], None] = PrivateAttr()
    _own: str = PrivateAttr(default_factory=lambda: uuid4().hex)

    def __init__(self, gate: Gate, on_found: Callable[[Document, GateVerdict], None]) -> None:
        """Configure.

        Args:
            gate: Learned from trusted nodes: `Gate(documents, trusted=True)`.
            on_found: Called with each node that is flagged or quarantined, as a document, and its verdict: store what is
                quarantined, since it goes no further.

        Raises:
            InvalidInputError: If the gate is none, or there is nobody to tell.
        """
        if not isinstance(gate, Gate) or not callable(on_found):
            raise InvalidInputError(
                f"expected a Gate and a function to tell what it finds, not {gate!r:.100} and {on_found!r:.100}"
            )
        super().__init__()
        self._gate, self._on_found = gate, on_found

    @classmethod
    def class_name(cls) -> str:
        """Name in LlamaIndex's registries."""
        return "RAGGuardGate"

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """What tells this object from others in the hash of a pipeline's cache: another gate may decide otherwise."""
        return {**super().to_dict(**kwargs), "judged_by": self._own}

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:  # noqa: ARG002
        """Judge.

        Args:
            nodes: Of one run, among which copies are counted.
            kwargs: The pipeline's; none is used.

        Raises:
            InvalidInputError: If something is not a node, or has no id.
            EncoderError: If the encoder of the gate's query log fails.
        """
        if not all(isinstance(node, BaseNode) for node in nodes):
            raise InvalidInputError(f"expected a list of LlamaIndex nodes, not {nodes!r:.200}")
        documents = [Document(node.node_id, node.get_content(MetadataMode.EMBED), node.metadata) for node in nodes]
        kept = []
        for node, judged in zip(nodes, self._gate.judge(documents), strict=True):
            if judged.verdict.action != "admit":
                self._on_found(judged.document, judged.verdict)
            if judged.verdict.action != "quarantine":
                kept.append(node)
        return kept

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """As a call, without blocking the event loop."""
        return await asyncio.to_thread(self, nodes, **kwargs)
