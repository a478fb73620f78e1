"""The README's code, run as it stands; only the model, the corpus and the reader's own objects are put in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, Settings, StorageContext, VectorStoreIndex
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.event_handlers import NullEventHandler
from llama_index.core.llms.mock import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.retrievers.ragguard import EncoderEmbedding, RAGGuardRetriever

import ragguard
from ragguard.testing import WordHashEncoder

README = (Path(__file__).parents[1] / "README.md").read_text()
THINGS = ["bridge", "mill", "library", "theatre", "abbey", "market", "station", "harbour"]


def test_the_code_runs_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ragguard, "SentenceTransformerEncoder", lambda _: WordHashEncoder(), raising=False)
    monkeypatch.setattr(Settings, "_llm", MockLLM())
    root = get_dispatcher()
    before = list(root.event_handlers)
    nodes = [
        TextNode(
            text=f"{town} built its {thing} in {1700 + i} of stone, and {10 + i} masons of the guild worked there for years."
        )
        for town in ("Arden", "Brill", "Corby", "Deal", "Ely", "Frome", "Goole", "Hythe", "Ilkley", "Jarrow")
        for i, thing in enumerate(THINGS)
    ]
    model = EncoderEmbedding(WordHashEncoder())
    vector_store = SimpleVectorStore()
    index = VectorStoreIndex(nodes, embed_model=model, storage_context=StorageContext.from_defaults(vector_store=vector_store))
    known: dict[str, Any] = {
        "index": index,
        "nodes": nodes,
        "queries": [f"When was the {thing} number {i} built?" for thing in THINGS for i in range(15)],
        "SentenceSplitter": SentenceSplitter,
        "embed_model": MockEmbedding(WordHashEncoder.dimension),
        "vector_store": vector_store,
        "documents": [Document(text="Some text of some words.")],
        "handler": NullEventHandler(),
    }
    try:
        blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        assert len(blocks) == 4
        for block in blocks:
            exec(compile(block, "README.md", "exec"), known)  # noqa: S102
    finally:
        root.event_handlers[:] = before
    assert isinstance(known["retriever"], RAGGuardRetriever)
    assert (tmp_path / "evidence.db").exists()
