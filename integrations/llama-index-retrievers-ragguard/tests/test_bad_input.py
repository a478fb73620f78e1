"""What a user's data, store and framework get wrong: a typed error that says what, or a result that is still guarded."""

from __future__ import annotations

import asyncio
import datetime
import importlib.metadata
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.retrievers.ragguard import (
    EncoderEmbedding,
    IndexRetriever,
    RAGGuardPostprocessor,
    RAGGuardRetriever,
    bounds,
    documents_of,
)

from ragguard.defenses import RAGMask, SourceQuota
from ragguard.errors import DeadlineExceededError, InvalidInputError, RetrieverError
from ragguard.retriever import GuardPolicy
from ragguard.testing import WordHashEncoder

from .support import scored

ENCODER = WordHashEncoder()
PROJECT = Path(__file__).parents[1] / "pyproject.toml"


class Given(BaseRetriever):
    """Returns what it was given, whatever that is."""

    def __init__(self, given: Any, delay: float = 0.0) -> None:
        super().__init__()
        self.given, self.delay = given, delay

    def _retrieve(self, query_bundle: QueryBundle) -> Any:
        time.sleep(self.delay)
        return self.given


class Careless(Given):
    """Overrides the public method, past LlamaIndex's own checks."""

    def retrieve(self, str_or_query_bundle: Any) -> Any:
        return self.given

    async def aretrieve(self, str_or_query_bundle: Any) -> Any:
        return self.given


def three_ways(given: Any, retriever: type[Given] = Given) -> list[Callable[[], list[NodeWithScore]]]:
    guarded = RAGGuardRetriever(retriever(given), [SourceQuota(9)], top_k=2)
    post = RAGGuardPostprocessor([SourceQuota(9)], top_k=2)
    return [
        lambda: guarded.retrieve("query"),
        lambda: asyncio.run(guarded.aretrieve("query")),
        lambda: post.postprocess_nodes(given, query_str="query"),
    ]


def both_ways(guarded: RAGGuardRetriever, query: str) -> list[Callable[[], list[NodeWithScore]]]:
    return [lambda: guarded.retrieve(query), lambda: asyncio.run(guarded.aretrieve(query))]


@pytest.mark.parametrize(
    "given",
    [None, 3, "text", [None], [TextNode(id_="n", text="no score")], {"a": 1}],
    ids=["none", "number", "text", "nones", "unscored", "mapping"],
)
@pytest.mark.parametrize("retriever", [Given, Careless])
def test_what_is_no_list_of_nodes_is_an_error(given: Any, retriever: type[Given]) -> None:
    for ask in three_ways(given, retriever):
        with pytest.raises(RetrieverError, match="retriever"):
            ask()


def test_a_node_without_an_id_is_an_error_that_says_which() -> None:
    nodes = scored(TextNode(text="fine"), TextNode(id_="", text="whose?", metadata={"file": "a.txt"}))
    for ask in three_ways(nodes):
        with pytest.raises(RetrieverError, match=r"without an id, at place 2: \{'file': 'a.txt'\}"):
            ask()


def test_a_node_without_text_is_not_returned() -> None:
    for ask in three_ways(scored(TextNode(text=""), TextNode(text=" \n"), TextNode(text="fine"))):
        assert [item.node.get_content() for item in ask()] == ["fine"]


def test_metadata_of_any_kind_passes() -> None:
    odd = {"n": 3, "f": 0.5, "none": None, "list": [1, {"a": "b"}], "when": datetime.date(2024, 1, 2), "source": 7, "o": object()}
    for ask in three_ways(scored(TextNode(text="fine", metadata=odd))):
        (item,) = ask()
        assert {key: item.node.metadata[key] for key in odd} == odd


def test_more_than_asked_and_the_same_again() -> None:
    many = scored(*(TextNode(id_=f"n{i % 4}", text=f"Text {i % 4}.") for i in range(40)))
    for ask in three_ways(many):
        assert [item.node.node_id for item in ask()] == ["n0", "n1"]


def test_one_id_with_two_texts_is_an_error_where_llama_index_lets_it_pass() -> None:
    twins = scored(TextNode(id_="t", text="one"), TextNode(id_="t", text="two"))
    with pytest.raises(RetrieverError, match="two different texts under the id 't'"):
        RAGGuardPostprocessor([SourceQuota(9)]).postprocess_nodes(twins, query_str="q")


def test_an_empty_index_gives_nothing() -> None:
    index = VectorStoreIndex([], embed_model=EncoderEmbedding(ENCODER))
    guarded = RAGGuardRetriever.from_index(index, [RAGMask(ENCODER)])
    assert guarded.retrieve("query") == asyncio.run(guarded.aretrieve("query")) == []
    assert IndexRetriever(index).retrieve("query", 3) == []


def test_a_query_without_text_is_an_error() -> None:
    for ask in both_ways(RAGGuardRetriever(Given([]), [SourceQuota(9)]), " "):
        with pytest.raises(InvalidInputError, match="no text"):
            ask()


class Of(BaseEmbedding):
    """Embeddings of a length."""

    size: int

    def _get_query_embedding(self, query: str) -> list[float]:
        return [1.0] * self.size

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_query_embedding(text)


def test_an_embedding_of_another_dimension_is_an_error() -> None:
    index = VectorStoreIndex([TextNode(text="fine")], embed_model=Of(size=8))
    inner = index.as_retriever(embed_model=Of(size=5))
    guarded = RAGGuardRetriever(inner, [SourceQuota(9)])
    for ask in both_ways(guarded, "q"):
        with pytest.raises(RetrieverError, match="8"):
            ask()


def test_a_slow_retriever_meets_the_deadline() -> None:
    slow = Given(scored(TextNode(text="fine")), delay=1.5)
    guarded = RAGGuardRetriever(slow, [SourceQuota(9)], policy=GuardPolicy(deadline_s=0.2))
    for ask in both_ways(guarded, "q"):
        start = time.monotonic()
        with pytest.raises(DeadlineExceededError, match="wrapped retriever"):
            ask()
        assert time.monotonic() - start < 1


def test_a_retriever_without_asynchronous_code_does_not_block_the_loop() -> None:
    async def longest_gap() -> float:
        guarded = RAGGuardRetriever(Given(scored(TextNode(text="fine")), delay=0.4), [SourceQuota(9)])
        work = asyncio.ensure_future(guarded.aretrieve("q"))
        gap, last = 0.0, time.monotonic()
        while not work.done():
            await asyncio.sleep(0.01)
            gap, last = max(gap, time.monotonic() - last), time.monotonic()
        assert await work
        return gap

    assert asyncio.run(longest_gap()) < 0.3


@pytest.mark.parametrize("nodes", [None, "x", [None], [NodeWithScore(node=TextNode(text="x"))]])
def test_documents_are_made_of_nodes_alone(nodes: Any) -> None:
    with pytest.raises(InvalidInputError, match="LlamaIndex nodes"):
        documents_of(nodes)


def test_what_is_no_encoder_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match="not an encoder"):
        EncoderEmbedding("all-MiniLM-L6-v2")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("installed", "fits"), [("0.12.52", False), ("0.13.0", True), ("0.14.25", True), ("0.15.0", False), ("1.0", False)]
)
def test_a_framework_outside_the_bounds_is_an_error(installed: str, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "version", lambda _: installed)
    if fits:
        bounds.check()
        return
    with pytest.raises(ImportError, match=f"needs llama-index-core>=0.13,<0.15, not {re.escape(installed)}: pip install"):
        bounds.check()


def test_the_bounds_are_those_that_pip_reads() -> None:
    assert f'"llama-index-core>={bounds._dotted(bounds.LEAST)},<{bounds._dotted(bounds.BELOW)}"' in PROJECT.read_text()
    assert importlib.metadata.version("llama-index-core")


def test_nothing_is_imported_before_the_bounds_are_checked() -> None:
    source = (PROJECT.parent / "llama_index/retrievers/ragguard/__init__.py").read_text()
    imported: Sequence[str] = re.findall(r"^(?:from \S+ import .*|check\(\))$", source, re.MULTILINE)
    assert imported[0].endswith("import check")
    assert imported[1] == "check()"
