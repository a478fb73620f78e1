"""Nodes to candidates and back: what is judged is what the index embedded, and what the LLM will read."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from llama_index.core.schema import BaseNode, IndexNode, MetadataMode, NodeWithScore

from ragguard.checks import positive
from ragguard.defenses import BaseDefense
from ragguard.errors import RetrieverError
from ragguard.protocols import Defense
from ragguard.retriever import Guard, GuardPolicy
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
        self._defenses, self._top_k = defenses, positive(top_k, "top_k")
        self._policy = policy or GuardPolicy()
        self._guard(None)  # refuses what is no defense

    def prepare(self, nodes: Sequence[BaseNode]) -> None:
        """Compute at ingestion what judging these nodes will need, in every reading that is judged."""
        scored = [NodeWithScore(node=node) for node in nodes]
        for mode in _readings(scored):
            documents = [hit.document for hit in hits(scored, mode)]
            for defense in self._defenses:
                if isinstance(defense, BaseDefense):
                    defense.prepare(documents)

    def guard(self, query: str, nodes: Sequence[NodeWithScore]) -> GuardedResult:
        """Judge nodes; the candidates are the EMBED-mode texts.

        Where another reading of a node (what the LLM reads, or its bare text) holds text that the first does not, all nodes are
        judged in that reading, too: what is dropped in any reading is dropped, and the worst rank counts.

        Raises:
            DeadlineExceededError: If all readings together take longer than the policy's deadline.
        """
        end = self._end()
        results = [self._guard(end)(query, hits(nodes, mode), self._top_k) for mode in _readings(nodes)]
        return _worst(results)

    async def aguard(self, query: str, nodes: Sequence[NodeWithScore]) -> GuardedResult:
        """As `guard`, without blocking the event loop."""
        end = self._end()
        results = [await self._guard(end).acall(query, hits(nodes, mode), self._top_k) for mode in _readings(nodes)]
        return _worst(results)

    def _end(self) -> float | None:
        return None if self._policy.deadline_s is None else time.monotonic() + self._policy.deadline_s

    def _guard(self, end: float | None) -> Guard:
        left = None if end is None else max(end - time.monotonic(), 1e-3)
        return Guard(self._defenses, self._policy.model_copy(update={"deadline_s": left}))


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
        found.append(Hit(Document(item.node.node_id, _text(item.node, mode), item.node.metadata), score))
    return found


def _text(node: BaseNode, mode: MetadataMode) -> str:
    try:
        return node.get_content(mode)
    except Exception as error:
        raise RetrieverError(f"node {node.node_id!r} cannot be rendered by its templates: {error!r}") from error


def _readings(nodes: Sequence[NodeWithScore]) -> list[MetadataMode]:
    """EMBED, and the modes in which some node holds text that its EMBED-mode text does not."""
    if not isinstance(nodes, Sequence) or not all(isinstance(item, NodeWithScore) for item in nodes):
        raise RetrieverError(f"expected a list of NodeWithScore, not {nodes!r:.200}")
    more = [
        mode
        for mode in (MetadataMode.LLM, MetadataMode.NONE)
        if any(_text(item.node, mode) not in _text(item.node, MetadataMode.EMBED) for item in nodes)
    ]
    return [MetadataMode.EMBED, *more]


def guarded_nodes(result: GuardedResult, nodes: Sequence[NodeWithScore]) -> list[NodeWithScore]:
    """Copies of the kept nodes, in canonical text, with their verdicts under the metadata key `ragguard`.

    The value of the key: `verdicts` (as `ragguard.Verdict`; spans are offsets in the original node's EMBED-mode text),
    `text_offset` (where in that text the node's own text starts), `starts` and `origins` (as `ragguard.text.Canonical`: how
    offsets in the canonical text that was judged map to that text), and `degraded`.
    """
    by_id = {item.node.node_id: item.node for item in reversed(nodes)}  # of two nodes with one id, the first was judged
    return [NodeWithScore(node=_copy(by_id[hit.document.id], result), score=hit.score) for hit in result.kept]


def _copy(node: BaseNode, result: GuardedResult) -> BaseNode:
    read = canonical(node.get_content(MetadataMode.LLM)).text
    form = canonical(node.get_content(MetadataMode.EMBED))
    changes: dict[str, Any] = {
        "metadata": {**node.metadata, KEY: _report(node, form, result)},
        "excluded_embed_metadata_keys": [*node.excluded_embed_metadata_keys, KEY],
        "excluded_llm_metadata_keys": [*node.excluded_llm_metadata_keys, KEY],
        "relationships": dict(node.relationships),
    }
    if isinstance(node, IndexNode):
        changes["obj"] = None  # what it points to was not judged
    copy = node.model_copy(update=changes)
    text = node.get_content(MetadataMode.NONE)
    if (clean := canonical(text).text) != text:
        copy.set_content(clean)
    if copy.get_content(MetadataMode.LLM) != read:
        # Metadata or templates hold what canonical text does not: the LLM gets the text that was judged, and nothing beside it.
        copy.excluded_llm_metadata_keys = [*copy.metadata]
        copy.set_content(read)
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
    template = getattr(node, "text_template", None)
    if not metadata or template is None:
        return 0
    before, _, _ = template.partition("{content}")
    return len(before.format(metadata_str=metadata).lstrip())


def _worst(results: Sequence[GuardedResult]) -> GuardedResult:
    """One result of several readings of the same nodes: dropped in any is dropped, and the worst rank counts."""
    first, others = results[0], results[1:]
    if not others:
        return first
    ranks = [{hit.document.id: rank for rank, hit in enumerate((*r.kept, *r.reserve))} for r in results]
    passed = [hit for hit in (*first.kept, *first.reserve) if all(hit.document.id in found for found in ranks)]
    late = [hit for hit in (*first.kept, *first.reserve) if hit not in passed]
    passed.sort(key=lambda hit: max(found[hit.document.id] for found in ranks))
    verdicts = [replace(v, reason=f"In another reading of the node: {v.reason}", spans=()) for r in others for v in r.verdicts]
    return replace(
        first,
        kept=tuple(passed[: first.k]),
        reserve=tuple(passed[first.k :]),
        removed=(*first.removed, *late),
        verdicts=(*first.verdicts, *verdicts),
        degraded=tuple(dict.fromkeys(reason for r in results for reason in r.degraded)),
    )
