"""What the guard tells LlamaIndex's instrumentation: one event a query, without anybody's text unless it is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.base import BaseEvent  # type: ignore[attr-defined]

from ragguard.types import GuardedResult

DISPATCHER = get_dispatcher(__name__)


class Removed(BaseModel):
    """A node that one defense dropped, or moved out of the top k.

    Attributes:
        node_id: The node.
        defense: Who did.
        action: `drop` or `demote`.
        reason: Why, in a sentence for people; RAGGuard's own defenses quote no text in it.
        signals: The numbers behind it, by name.
        text: What was judged; None unless texts are wanted.
    """

    node_id: str
    defense: str
    action: str
    reason: str
    signals: Mapping[str, float]
    text: str | None = None


class GuardEvent(BaseEvent):
    """One query was guarded. Its span is that of whoever asked: the retriever or the postprocessor.

    Attributes:
        candidates: How many nodes were judged.
        kept: Ids of the nodes that were returned, best first.
        removed: What was not, and why; one for each defense that acted.
        degraded: Whether a defense did not run, under a policy that fails open.
        seconds: How long judging took, the wait for the wrapped retriever not included.
        query: What was asked; None unless texts are wanted.
    """

    candidates: int
    kept: list[str]
    removed: list[Removed]
    degraded: bool
    seconds: float
    query: str | None = None

    @classmethod
    def class_name(cls) -> str:
        """Name in traces."""
        return "GuardEvent"


def tell(result: GuardedResult, seconds: float, texts: bool) -> None:
    """Send the event of a result to whoever listens."""
    said = {hit.document.id: hit.document.text for hit in result.candidates} if texts else {}
    removed = [
        Removed(
            node_id=verdict.document_id,
            defense=verdict.defense,
            action=verdict.action,
            reason=verdict.reason,
            signals=verdict.signals,
            text=said.get(verdict.document_id),
        )
        for verdict in result.verdicts
        if verdict.action != "keep"
    ]
    DISPATCHER.event(
        GuardEvent(
            candidates=len(result.candidates),
            kept=[hit.document.id for hit in result.kept],
            removed=removed,
            degraded=bool(result.degraded),
            seconds=seconds,
            query=result.query if texts else None,
        )
    )
