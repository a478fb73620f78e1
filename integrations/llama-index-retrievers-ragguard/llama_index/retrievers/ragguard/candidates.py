"""Candidates: what a LlamaIndex retriever finds, pointers followed to the end, before anybody judges it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.indices.base import BaseIndex
from llama_index.core.schema import IndexNode, NodeWithScore, QueryBundle
from llama_index.retrievers.ragguard.nodes import hits

from ragguard.checks import positive
from ragguard.errors import DeadlineExceededError, RetrieverError
from ragguard.retriever import deadline
from ragguard.retriever.accounting import retriever_failed
from ragguard.types import Hit

MAX_NESTING = 16
"""Levels of IndexNodes that point to IndexNodes that are followed; a cycle ends here."""


class Candidates(BaseRetriever):
    """Asks a retriever, through its public methods, and follows nodes that point to other nodes, retrievers or engines."""

    def __init__(self, retriever: BaseRetriever, **kwargs: Any) -> None:
        """Wrap a retriever.

        Args:
            retriever: Finds nodes.
            kwargs: For `BaseRetriever`: callback_manager, object_map, objects, verbose.
        """
        super().__init__(**kwargs)
        self._retriever = retriever

    def find(self, query_bundle: QueryBundle, end: float | None = None) -> list[NodeWithScore]:
        """Nodes that point nowhere, each id once.

        Args:
            query_bundle: What is asked; it is not changed.
            end: By the monotonic clock, when the answer comes too late; None waits.

        Raises:
            RetrieverError: If the retriever raises, or nodes point in a circle.
            DeadlineExceededError: If it takes longer.
        """
        if end is None:
            return self._retrieve(query_bundle)
        future, give_up = deadline.start(lambda: self._retrieve(query_bundle))
        try:
            return future.result(end - time.monotonic())
        except FutureTimeoutError as error:
            if future.done():
                raise  # DeadlineExceededError, from a guard within
            give_up.set()
            raise _too_late() from error

    async def afind(self, query_bundle: QueryBundle, end: float | None = None) -> list[NodeWithScore]:
        """As `find`; a retriever without asynchronous code of its own runs in a thread, lest it block the event loop."""
        work = asyncio.ensure_future(self._aretrieve(query_bundle))
        try:
            done, _ = await asyncio.wait({work}, timeout=None if end is None else end - time.monotonic())
        finally:
            work.cancel()  # no effect on what is done
        if not done:
            raise _too_late()
        return work.result()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        try:
            # a copy: retrievers write the embedding into the bundle they are given
            nodes = self._retriever.retrieve(replace(query_bundle))
            for _ in range(MAX_NESTING):
                nodes = self._handle_recursive_retrieval(query_bundle, nodes)
                if not _unresolved(nodes):
                    break
        except Exception as error:
            raise retriever_failed(error) from error
        return _resolved(nodes)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        try:
            nodes = await _ask(self._retriever, replace(query_bundle))
            for _ in range(MAX_NESTING):
                nodes = await self._ahandle_recursive_retrieval(query_bundle, nodes)
                if not _unresolved(nodes):
                    break
        except Exception as error:
            raise retriever_failed(error) from error
        return _resolved(nodes)

    async def _aretrieve_from_object(self, obj: Any, query_bundle: QueryBundle, score: float) -> list[NodeWithScore]:
        if isinstance(obj, BaseRetriever):
            return await _ask(obj, query_bundle)
        return await super()._aretrieve_from_object(obj, query_bundle, score)


class IndexRetriever:
    """An index as RAGGuard's `Retriever`: to calibrate a guard on it (`default_guard`), as the guard will see it."""

    def __init__(self, index: BaseIndex[Any], **kwargs: Any) -> None:
        """Wrap an index.

        Args:
            index: Any index whose `as_retriever` takes `similarity_top_k`.
            kwargs: For `as_retriever`, such as `filters`.
        """
        self._index, self._kwargs = index, kwargs

    def retrieve(self, query: str, k: int) -> Sequence[Hit]:
        """At most k hits, best first, of EMBED-mode texts.

        Raises:
            InvalidInputError: If `k` is below 1.
            RetrieverError: If the index raises.
        """
        return hits(self._candidates(k).find(QueryBundle(query)))[:k]

    async def aretrieve(self, query: str, k: int) -> Sequence[Hit]:
        """As `retrieve`, without blocking the event loop."""
        return hits(await self._candidates(k).afind(QueryBundle(query)))[:k]

    def _candidates(self, k: int) -> Candidates:
        return Candidates(self._index.as_retriever(similarity_top_k=positive(k), **self._kwargs))


async def _ask(retriever: BaseRetriever, query_bundle: QueryBundle) -> list[NodeWithScore]:
    if type(retriever)._aretrieve is BaseRetriever._aretrieve:
        return await deadline.in_thread(lambda: retriever.retrieve(query_bundle))
    return await retriever.aretrieve(query_bundle)


def _unresolved(nodes: Sequence[NodeWithScore]) -> list[str]:
    return [item.node.node_id for item in nodes if isinstance(item.node, IndexNode) and item.node.obj is not None]


def _resolved(nodes: list[NodeWithScore]) -> list[NodeWithScore]:
    if names := _unresolved(nodes):
        raise RetrieverError(f"nodes {names} point to other nodes more than {MAX_NESTING} levels deep, or in a circle")
    return nodes


def _too_late() -> DeadlineExceededError:
    return DeadlineExceededError("the wrapped retriever did not answer within deadline_s; raise it, or look at the store")
