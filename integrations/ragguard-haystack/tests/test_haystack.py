"""The guard in Haystack: a real pipeline over its in-memory document store, with the real model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from haystack import Document, Pipeline, component
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.core.errors import SerializationError
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack_integrations.components.rankers.ragguard import KEY, RAGGuard, documents_of

from ragguard.defenses import BaseDefense, CalibratedGuard, Judgement, RAGMask
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.errors import InvalidInputError, RetrieverError
from ragguard.index import DenseIndex
from ragguard.types import Hit

QUESTION = "When did the first railway tunnel under the river Severn open to passenger trains?"
BREAD = (
    "Sourdough bread rises by wild yeast and by bacteria that live in a starter of flour and water. Bakers feed the starter "
    "every day, keep it warm, and hold back a part of it for the next loaf. A long, cool rise gives the crumb its sour taste."
)
TEXTS = [
    "The Severn Tunnel was opened to goods trains in September 1886 and to passenger trains in December of that year. It runs "
    "for seven kilometres from Gloucestershire to Wales. Before it was built, travellers crossed the estuary on a steam ferry.",
    "It took the Great Western Railway thirteen years to dig the tunnel under the river. In 1879 the workings struck the Great "
    "Spring, and water filled them within a day. Pumps have lifted the water ever since.",
    "Penguins breed on the ice in winter, far from the open sea, and the males keep the eggs warm on their feet for two months.",
    "Bees dance to tell their sisters the direction of the flowers they found, and how far it is to fly there.",
    f"{QUESTION} {BREAD}",
]


@pytest.fixture(scope="module")
def encoder() -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder.offline(progress=False)


class Banned(BaseDefense):
    """Drops whatever says BANNED: makes visible what was judged and what was not."""

    name = "banned"

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
        return [Judgement(i, hit.score, "Looked for BANNED.", "BANNED" in hit.document.text) for i, hit in enumerate(hits)]


def test_a_poisoned_document_does_not_leave_the_pipeline(encoder: SentenceTransformerEncoder) -> None:
    @component
    class Embedder:
        @component.output_types(embedding=list[float])
        def run(self, query: str) -> dict[str, list[float]]:
            return {"embedding": encoder.encode_query([query])[0].tolist()}

    store = InMemoryDocumentStore()
    vectors = encoder.encode_document(TEXTS).tolist()
    given = [Document(id=f"d{i}", content=text, embedding=vectors[i]) for i, text in enumerate(TEXTS)]
    store.write_documents(given)
    guard = RAGGuard.of([RAGMask(encoder)], top_k=2)
    guard.prepare(given)
    pipeline = Pipeline()
    pipeline.add_component("embedder", Embedder())
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=4))
    pipeline.add_component("guard", RAGGuard.of([RAGMask(encoder)], top_k=2))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    pipeline.connect("retriever.documents", "guard.documents")
    asked = {"embedder": {"query": QUESTION}, "guard": {"query": QUESTION}}
    shown = {"retriever"}
    for found in (pipeline.run(asked, shown), asyncio.run(pipeline.run_async(asked, shown))):
        assert "d4" in [document.id for document in found["retriever"]["documents"][:2]]
        kept = found["guard"]["documents"]
        assert [document.id for document in kept] == ["d0", "d1"]
        assert kept[0].meta[KEY]["verdicts"][0]["action"] == "keep"
        json.dumps(kept[0].meta)
    assert [hit.document.id for hit in guard.explain(QUESTION, found["retriever"]["documents"]).lost] == ["d4"]
    assert store.filter_documents()[0].meta == {}  # the store's own documents stay as they are


def test_made_from_files_it_is_written_and_read_with_its_pipeline(tmp_path: Path, encoder: SentenceTransformerEncoder) -> None:
    index = DenseIndex(encoder)
    documents = documents_of([Document(id=f"d{i}", content=text) for i, text in enumerate(TEXTS[:4])])
    index.add(documents)
    queries = [f"{' '.join(text.split()[i : i + 4])}?" for text in TEXTS[:4] for i in range(0, 16, 2)]
    calibrated = CalibratedGuard.calibrated(encoder, index, documents, queries, k=2, max_clean_query_loss=0.1)
    calibrated.save(tmp_path / "guard.json")
    lines = [json.dumps({"_id": document.id, "text": document.text}) for document in documents]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines), encoding="utf-8")
    pipeline = Pipeline()
    made = RAGGuard(str(tmp_path / "guard.json"), str(tmp_path / "corpus.jsonl"), quota=1, top_k=2)
    pipeline.add_component("guard", made)
    again = Pipeline.loads(pipeline.dumps())
    given = [Document(id="a", content=TEXTS[0], meta={"source": "s"}), Document(id="b", content=TEXTS[1], meta={"source": "s"})]
    asked = {"guard": {"query": QUESTION, "documents": given}}
    assert [document.id for document in again.run(asked)["guard"]["documents"]] == ["a"]
    missing = RAGGuard(str(tmp_path / "none.json"), str(tmp_path / "corpus.jsonl"))
    with pytest.raises(InvalidInputError, match=r"none\.json"):
        missing.warm_up()
    with pytest.raises(SerializationError, match="save the guard"):
        RAGGuard.of([Banned()]).to_dict()


def test_what_is_returned_is_what_was_judged() -> None:
    guard = RAGGuard.of([Banned()], top_k=1)
    given = [
        Document(id="a", content="BAN\u200bNED", score=0.9),
        Document(id="b", content=None, score=0.8),
        Document(id="c", content="al\u200blowed", score=0.7),
    ]
    (only,) = guard.run("query", given)["documents"]
    assert (only.id, only.content, only.score) == ("c", "allowed", 0.7)
    (same,) = asyncio.run(guard.run_async("query", given))["documents"]
    assert same == only
    (unscored,) = guard.run("query", [Document(id="d", content="no score")])["documents"]
    assert unscored.score is None
    assert guard.run("query", []) == {"documents": []}


def test_bad_input_is_a_typed_error() -> None:
    guard = RAGGuard.of([Banned()])
    for wrong in (None, ["text"], "text", [Document(id="a", content="x", score=float("nan"))]):
        with pytest.raises(RetrieverError):
            guard.run("query", wrong)  # type: ignore[arg-type]
    with pytest.raises(RetrieverError, match="two different texts"):
        guard.run("query", [Document(id="a", content="x"), Document(id="a", content="y")])
    for defenses, top_k in (([], 1), ([1], 1), ([Banned()], 0)):
        with pytest.raises(InvalidInputError):
            RAGGuard.of(defenses, top_k=top_k)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="quota"):
        RAGGuard("guard.json", "corpus.jsonl", quota=0)
