"""Nodes to candidates and back: what is judged is what the index embedded, and what the LLM will read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, TextNode

from ragguard.errors import InvalidInputError, RetrieverError
from ragguard.protocols import Defense
from ragguard.retriever import GuardedRetriever, GuardPolicy
from ragguard.text import Canonical, canonical
from ragguard.types import Document, GuardedResult, Hit

KEY = "ragguard"
"""Metadata key of the verdicts on a returned node; excluded from what is embedded and from what the LLM reads."""


class NodeGuard:
    """Applies defenses to LlamaIndex nodes."""

    def __init__(self, defenses: Sequence[Defense], policy: GuardPolicy | None, top_k: int) -> None:
        """Configure.

        Args:
            defenses: Applied in turn.
            policy: Deadline and what happens on failure; None takes the defaults.
            top_k: How many nodes to keep.

        Raises:
            InvalidInputError: If there are no defenses, or `top_k` is below 1.
        """
        self._defenses, self._top_k = tuple(defenses), top_k
        policy = policy or GuardPolicy()
        # The wrapped retriever has one depth, its own: asking again would bring the same nodes.
        self._policy = policy.model_copy(update={"max_overfetch": policy.overfetch})
        self._guarded([])  # refuses what is no defense
        if top_k < 1:
            raise InvalidInputError(f"top_k must be at least 1, not {top_k}")

    def guard(self, query: str, nodes: Sequence[NodeWithScore]) -> GuardedResult:
        """Judge nodes; the candidates are the EMBED-mode texts.

        Where any LLM-mode text differs, those texts are judged, too, and what is dropped in either form is dropped.
        """
        result = self._guarded(hits(nodes, MetadataMode.EMBED)).retrieve(query, self._top_k)
        if not _read_differs(nodes):
            return result
        return _drop(result, self._guarded(hits(nodes, MetadataMode.LLM)).retrieve(query, self._top_k))

    async def aguard(self, query: str, nodes: Sequence[NodeWithScore]) -> GuardedResult:
        """As `guard`, without blocking the event loop."""
        result = await self._guarded(hits(nodes, MetadataMode.EMBED)).aretrieve(query, self._top_k)
        if not _read_differs(nodes):
            return result
        return _drop(result, await self._guarded(hits(nodes, MetadataMode.LLM)).aretrieve(query, self._top_k))

    def _guarded(self, candidates: list[Hit]) -> GuardedRetriever:
        return GuardedRetriever(_Given(candidates), self._defenses, self._policy)


class _Given:
    """A retriever of candidates that are already there."""

    def __init__(self, candidates: list[Hit]) -> None:
        self._candidates = candidates

    def retrieve(self, query: str, k: int) -> list[Hit]:  # noqa: ARG002
        return self._candidates


def hits(nodes: Sequence[NodeWithScore], mode: MetadataMode) -> list[Hit]:
    """Nodes as candidates, in their order.

    Raises:
        RetrieverError: If a score is not finite.
    """
    found = []
    for place, item in enumerate(nodes):
        score = 1 / (1 + place) if item.score is None else float(item.score)
        if not math.isfinite(score):
            raise RetrieverError(f"the wrapped retriever gave node {item.node.node_id!r} the score {score}")
        found.append(Hit(Document(item.node.node_id, item.node.get_content(mode), item.node.metadata), score))
    return found


def guarded_nodes(result: GuardedResult, nodes: Sequence[NodeWithScore]) -> list[NodeWithScore]:
    """Copies of the kept nodes, in canonical text, with their verdicts under the metadata key `ragguard`.

    The value of the key: `verdicts` (as `ragguard.Verdict`; spans are offsets in the original node's EMBED-mode text),
    `text_offset` (where in that text the node's own text starts), `starts` and `origins` (as `ragguard.text.Canonical`: how
    offsets in the canonical text that was judged map to that text), and `degraded`.
    """
    by_id = {item.node.node_id: item.node for item in nodes}
    return [NodeWithScore(node=_copy(by_id[hit.document.id], result), score=hit.score) for hit in result.kept]


def _copy(node: BaseNode, result: GuardedResult) -> BaseNode:
    form = canonical(node.get_content(MetadataMode.EMBED))
    metadata = {
        key: canonical(value).text if isinstance(value, str) and key not in node.excluded_llm_metadata_keys else value
        for key, value in node.metadata.items()
    }
    copy = node.model_copy(
        update={
            "metadata": {**metadata, KEY: _report(node, form, result)},
            "excluded_embed_metadata_keys": [*node.excluded_embed_metadata_keys, KEY],
            "excluded_llm_metadata_keys": [*node.excluded_llm_metadata_keys, KEY],
            "relationships": dict(node.relationships),
        }
    )
    text = node.get_content(MetadataMode.NONE)
    if (clean := canonical(text).text) != text:
        copy.set_content(clean)
    return copy


def _report(node: BaseNode, form: Canonical, result: GuardedResult) -> dict[str, Any]:
    return {
        "verdicts": [asdict(verdict) for verdict in result.verdicts_on(node.node_id)],
        "text_offset": _text_offset(node),
        "starts": list(form.starts),
        "origins": list(form.origins),
        "degraded": list(result.degraded),
    }


def _text_offset(node: BaseNode) -> int:
    metadata = node.get_metadata_str(MetadataMode.EMBED).strip()
    if not metadata or not isinstance(node, TextNode):
        return 0
    before = node.text_template.partition("{content}")[0].format(metadata_str=metadata)
    return len(before.lstrip())


def _read_differs(nodes: Sequence[NodeWithScore]) -> bool:
    return any(item.node.get_content(MetadataMode.LLM) != item.node.get_content(MetadataMode.EMBED) for item in nodes)


def _drop(result: GuardedResult, read: GuardedResult) -> GuardedResult:
    """Take out of a result what was dropped for the text that the LLM would read."""
    gone = {hit.document.id for hit in read.removed}
    passed = [hit for hit in (*result.kept, *result.reserve) if hit.document.id not in gone]
    late = [hit for hit in (*result.kept, *result.reserve) if hit.document.id in gone]
    verdicts = [replace(v, reason=f"As the LLM would read it: {v.reason}", spans=()) for v in read.verdicts if v.action == "drop"]
    return replace(
        result,
        kept=tuple(passed[: result.k]),
        reserve=tuple(passed[result.k :]),
        removed=(*result.removed, *late),
        verdicts=(*result.verdicts, *verdicts),
        degraded=(*result.degraded, *read.degraded),
    )
