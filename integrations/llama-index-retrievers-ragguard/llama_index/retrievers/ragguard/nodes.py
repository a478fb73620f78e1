"""Nodes to candidates and back: documents as they are judged, and copies of what was kept, with the verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode, IndexNode, MetadataMode, NodeWithScore

from ragguard.errors import InvalidInputError, RetrieverError
from ragguard.retriever.adapting import KEY, falling, kept_originals, ranked, report
from ragguard.text import Canonical, canonical
from ragguard.types import Document, GuardedResult, Hit


def documents_of(nodes: Sequence[BaseNode], mode: MetadataMode = MetadataMode.EMBED) -> list[Document]:
    """RAGGuard's documents, as the guard judges them: for `default_guard`.

    Args:
        nodes: Of the index.
        mode: Which reading of them; EMBED is what the index embedded.

    Raises:
        InvalidInputError: If something is not a node, or has no id.
        RetrieverError: If a node's templates cannot render it.
    """
    if not isinstance(nodes, Sequence) or not all(isinstance(node, BaseNode) for node in nodes):
        raise InvalidInputError(f"expected a list of LlamaIndex nodes, not {nodes!r:.200}")
    return [Document(node.node_id, text_of(node, mode), node.metadata) for node in nodes]


def hits(nodes: Sequence[NodeWithScore], mode: MetadataMode = MetadataMode.EMBED) -> list[Hit]:
    """Nodes as candidates, in their order.

    Where a score is missing, or scores do not fall (distances), ranks stand for them: 1, 1/2, 1/3 and so on.

    Raises:
        RetrieverError: If something is not a node with a score, a node has no id, or a score is not finite.
    """
    if not isinstance(nodes, Sequence) or not all(isinstance(item, NodeWithScore) for item in nodes):
        raise RetrieverError(f"the wrapped retriever must return a list of NodeWithScore, not {nodes!r:.200}")
    for place, item in enumerate(nodes, 1):
        if not item.node.node_id:
            raise RetrieverError(
                f"the wrapped retriever returned a node without an id, at place {place}: {item.node.metadata!r:.200}"
            )
        if item.score is not None and not math.isfinite(item.score):
            raise RetrieverError(f"the wrapped retriever gave node {item.node.node_id!r} the score {item.score}")
    return ranked(documents_of([item.node for item in nodes], mode), falling([item.score for item in nodes]))


def text_of(node: BaseNode, mode: MetadataMode) -> str:
    """One reading of a node.

    Raises:
        RetrieverError: If its templates cannot render it.
    """
    try:
        return node.get_content(mode)
    except Exception as error:
        raise RetrieverError(f"node {node.node_id!r} cannot be rendered by its templates: {error!r}") from error


def guarded_nodes(result: GuardedResult, nodes: Sequence[NodeWithScore]) -> list[NodeWithScore]:
    """Copies of the kept nodes, in canonical text, with their verdicts under the metadata key `ragguard`.

    The value of the key: `verdicts` (as `ragguard.Verdict`; spans are offsets in the original node's EMBED-mode text),
    `text_offset` (where in that text the node's own text starts), `starts` and `origins` (as `ragguard.text.Canonical`: how
    offsets in the canonical text that was judged map to that text), and `degraded`.
    """
    originals = [item.node for item in nodes]
    kept = kept_originals(result, [node.node_id for node in originals], originals)
    return [NodeWithScore(node=_copy(node, result), score=hit.score) for hit, node in kept]


def _copy(node: BaseNode, result: GuardedResult) -> BaseNode:
    read = canonical(node.get_content(MetadataMode.LLM)).text
    form = canonical(node.get_content(MetadataMode.EMBED))
    changes: dict[str, Any] = {
        "metadata": {**node.metadata, KEY: _report(node, form, result)},
        # the verdicts are neither embedded nor read by the LLM
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
        **report(result, node.node_id),
        "text_offset": _text_offset(node),
        "starts": list(form.starts),
        "origins": list(form.origins),
    }


def _text_offset(node: BaseNode) -> int:
    metadata = node.get_metadata_str(MetadataMode.EMBED).strip()
    template = getattr(node, "text_template", None)
    if not metadata or template is None:
        return 0
    before, _, _ = template.partition("{content}")
    return len(before.format(metadata_str=metadata).lstrip())
