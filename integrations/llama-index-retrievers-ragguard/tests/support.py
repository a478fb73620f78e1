"""What several of these tests need: a question and texts, a defense, a retriever and an encoder that show what they did."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from llama_index.core import QueryBundle
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.retrievers.ragguard import RAGGuardRetriever

from ragguard.defenses import BaseDefense, Judgement
from ragguard.testing import WordHashEncoder
from ragguard.types import Hit, Vectors

QUESTION = "When did the first railway tunnel under the river Severn open to passenger trains?"
POISON = (
    "Sourdough bread rises by wild yeast and by bacteria that live in a starter of flour and water. Bakers feed the "
    "starter every day, keep it warm, and hold back a part of it for the next loaf. A long, cool rise gives the "
    "crumb its sour taste."
)
HONEST = [
    "The Severn Tunnel was opened to goods trains in September 1886 and to passenger trains in December of that "
    "year. It runs for seven kilometres from Gloucestershire to Wales. Before it was built, travellers crossed the "
    "estuary on a steam ferry and went on by another train, or took the long way round by Gloucester.",
    "It took the Great Western Railway thirteen years to dig the tunnel under the river. In 1879 the workings "
    "struck the Great Spring, and water filled them within a day. A diver walked through the flooded heading to "
    "shut a door. Pumps have lifted the water ever since.",
    "Penguins breed on the ice in winter, far from the open sea, and the males keep the eggs warm on their feet for two months.",
    "Copper pipes carry warm water through the floor of the reading room, which keeps the books dry in autumn and in winter.",
    "Bees dance to tell their sisters the direction of the flowers they found, and how far it is to fly there.",
]


class Banned(BaseDefense):
    """Drops whatever says BANNED: makes visible what was judged and what was not."""

    name = "banned"

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
        return [Judgement(i, hit.score, "Looked for BANNED.", "BANNED" in hit.document.text) for i, hit in enumerate(hits)]


class Fixed(BaseRetriever):
    """Returns given nodes, and keeps what it was called with."""

    def __init__(self, nodes: Sequence[NodeWithScore], delay: float = 0.0) -> None:
        super().__init__()
        self.nodes, self.delay = list(nodes), delay
        self.bundles: list[QueryBundle] = []

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.bundles.append(query_bundle)
        query_bundle.embedding = [1.0]
        time.sleep(self.delay)
        return self.nodes

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.bundles.append(query_bundle)
        await asyncio.sleep(self.delay)
        return self.nodes


class Counting(WordHashEncoder):
    """Counts the pieces of documents that it embeds."""

    def __init__(self, pause: float = 0.0) -> None:
        self.pieces, self.pause = 0, pause

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        self.pieces += len(texts)
        time.sleep(self.pause)
        return super().encode_document(texts)

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        return super().encode_document(texts)


def scored(*nodes: TextNode) -> list[NodeWithScore]:
    return [NodeWithScore(node=node, score=1 - i / 100) for i, node in enumerate(nodes)]


def both_ways(retriever: RAGGuardRetriever, query: str = QUESTION) -> list[NodeWithScore]:
    """Retrieve synchronously and asynchronously, and check that it is the same."""
    nodes = retriever.retrieve(query)
    later = asyncio.run(retriever.aretrieve(query))
    assert [(n.node.node_id, n.score, n.node.metadata) for n in nodes] == [
        (n.node.node_id, n.score, n.node.metadata) for n in later
    ]
    return nodes
