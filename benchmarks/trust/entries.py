"""Every way into the guard, as a function of a query and hits: the core, the sidecar, and the adapters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fastapi.testclient import TestClient
from haystack import Document as HaystackDocument
from haystack_integrations.components.rankers.ragguard import RAGGuard
from langchain_core.documents import Document as LangChainDocument
from langchain_ragguard import RAGGuardCompressor
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.retrievers.ragguard import RAGGuardPostprocessor

from ragguard.defenses import CalibratedGuard, RAGMask, RAGPart, SourceQuota
from ragguard.demo.scenario import DATA
from ragguard.evaluation.datasets import load
from ragguard.index import DenseIndex
from ragguard.protocols import Defense
from ragguard.retriever import Guard, GuardedRetriever
from ragguard.serve.app import application
from ragguard.serve.loading import Loaded
from ragguard.testing import WordHashEncoder
from ragguard.types import Document, GuardedResult, Hit

K = 3
REFUSED = frozenset({400, 413, 422})
"""Status codes with which the sidecar refuses what is the caller's fault."""


class RefusedError(Exception):
    """What the sidecar or a framework says, as its documentation has it, instead of an answer."""


@dataclass(frozen=True)
class Kept:
    """A document that came through.

    Attributes:
        text: As it is returned.
        judges: Names of the defenses that have a verdict on it.
    """

    text: str
    judges: frozenset[str]


@dataclass(frozen=True)
class Entry:
    """A way into the guard.

    Attributes:
        made: A hit as this entry takes it, from a row with id, text, score and source.
        asked: What comes through of hits.
    """

    made: Callable[[Mapping[str, Any]], Any]
    asked: Callable[[Any, Any], Sequence[Kept]]


def defenses() -> list[Defense]:
    """Those that are asked everywhere, with an encoder that is instant."""
    encoder = WordHashEncoder()
    return [RAGPart(encoder, k=2), RAGMask(encoder, m=4), SourceQuota(3)]


def calibrated() -> CalibratedGuard:
    """A default guard of the demo's corpus."""
    dataset, encoder = load(DATA), WordHashEncoder()
    index = DenseIndex(encoder, backend="faiss")
    index.add(dataset.documents)
    queries = list(dataset.queries.values())
    return CalibratedGuard.calibrated(encoder, index, dataset.documents, queries, k=K, max_clean_query_loss=0.05)


@contextmanager
def entries(every: Sequence[Defense], guard: CalibratedGuard) -> Iterator[Mapping[str, Entry]]:
    """All of them around the same defenses; the sidecar around a guard of its own."""
    made = Guard(every)
    encoder = WordHashEncoder()
    loaded = Loaded(Guard([guard]), guard, (guard.name,), "word-hash", encoder, 1, None)
    app = application(loaded, rate=1_000_000)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield {
            "Guard": Entry(_hit, lambda query, hits: _kept(made(query, hits, K))),
            "Guard.acall": Entry(_hit, lambda query, hits: _kept(asyncio.run(made.acall(query, hits, K)))),
            "GuardedRetriever": Entry(_hit, lambda query, hits: _kept(GuardedRetriever(_Fixed(hits), every).retrieve(query, K))),
            "GuardedRetriever.aretrieve": Entry(
                _hit, lambda query, hits: _kept(asyncio.run(GuardedRetriever(_Fixed(hits), every).aretrieve(query, K)))
            ),
            "sidecar": Entry(_candidate, lambda query, hits: _answered(client, query, hits)),
            "LlamaIndex": Entry(_node, lambda query, hits: _processed(every, query, hits)),
            "LangChain": Entry(
                lambda row: LangChainDocument(row["text"], id=row["id"], metadata={"source": row["source"]}),
                lambda query, hits: [
                    _told(one.page_content, one.metadata["ragguard"])
                    for one in RAGGuardCompressor(defenses=every, top_k=K).compress_documents(hits, query)
                ],
            ),
            "Haystack": Entry(
                _document,
                lambda query, hits: [
                    _told(one.content or "", one.meta["ragguard"])
                    for one in RAGGuard.of(every, top_k=K).run(query, hits)["documents"]
                ],
            ),
        }


class _Fixed:
    def __init__(self, hits: Any) -> None:
        self._hits = hits

    def retrieve(self, query: str, k: int) -> Any:  # noqa: ARG002
        return self._hits


def _hit(row: Mapping[str, Any]) -> Hit:
    return Hit(Document(row["id"], row["text"], {"source": row["source"]}), row["score"])


def _kept(result: GuardedResult) -> list[Kept]:
    return [Kept(hit.document.text, frozenset(one.defense for one in result.verdicts_on(hit.document.id))) for hit in result.kept]


def _told(text: str, report: Mapping[str, Any]) -> Kept:
    return Kept(text, frozenset(one["defense"] for one in report["verdicts"]))


def _candidate(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**{key: row[key] for key in ("id", "text", "score")}, "metadata": {"source": row["source"]}}


def _answered(client: TestClient, query: Any, hits: Any) -> list[Kept]:
    body = json.dumps({"query": query, "k": K, "hits": hits}, default=repr)
    response = client.post("/guard", content=body, headers={"content-type": "application/json"})
    if response.status_code in REFUSED:
        raise RefusedError(response.json()["message"])
    answer = response.json()
    judges: dict[str, set[str]] = {}
    for one in answer["verdicts"]:
        judges.setdefault(one["document_id"], set()).add(one["defense"])
    return [Kept(one["text"], frozenset(judges.get(one["id"], ()))) for one in answer["kept"]]


def _document(row: Mapping[str, Any]) -> HaystackDocument:
    try:
        return HaystackDocument(id=row["id"], content=row["text"], score=row["score"], meta={"source": row["source"]})
    except ValueError as error:  # of a content that is no text
        raise RefusedError(str(error)) from error


def _node(row: Mapping[str, Any]) -> NodeWithScore:
    node = TextNode(id_=row["id"], text=row["text"], metadata={"source": row["source"]})
    return NodeWithScore(node=node, score=row["score"])


def _processed(every: Sequence[Defense], query: Any, hits: Any) -> list[Kept]:
    found = RAGGuardPostprocessor(every, top_k=K).postprocess_nodes(hits, query_str=query)
    return [_told(one.node.get_content(), one.node.metadata["ragguard"]) for one in found]
