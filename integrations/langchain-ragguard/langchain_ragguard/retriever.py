"""A retriever that guards another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun, Callbacks
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.vectorstores import VectorStore

from langchain_ragguard.documents import documents_of, guarded, hits
from langchain_ragguard.events import atell, tell
from langchain_ragguard.settings import Guarding
from ragguard.defenses import prepare
from ragguard.protocols import Defense
from ragguard.retriever.adapting import depth
from ragguard.types import GuardedResult, Hit


class RAGGuardRetriever(Guarding, BaseRetriever):
    """Wraps any LangChain retriever; nothing it returns is unguarded.

    The wrapped retriever is used through its public `invoke` / `ainvoke` and never changed: how many candidates there are is
    its own setting, about twice `top_k`. Callbacks see both runs, the wrapped one as a child, and the event `ragguard`. The
    policy's deadline is for search and defenses together.

    Attributes:
        retriever: Finds the candidates. The others are those of `Guarding`.
    """

    retriever: BaseRetriever

    @classmethod
    def from_vectorstore(
        cls, store: VectorStore, defenses: Sequence[Defense], *, top_k: int = 5, candidates: int | None = None, **kwargs: Any
    ) -> RAGGuardRetriever:
        """Guard a vector store.

        Args:
            store: Any store whose `as_retriever` takes `search_kwargs` with a `k`.
            defenses: Applied in turn.
            top_k: How many documents to return.
            candidates: How many documents are judged; None means the policy's `overfetch` (2) times `top_k`.
            kwargs: As for the constructor.
        """
        retriever = store.as_retriever(search_kwargs={"k": depth(top_k, candidates, kwargs.get("policy"))})
        return cls(retriever=retriever, defenses=defenses, top_k=top_k, **kwargs)

    def prepare(self, documents: Sequence[Document]) -> None:
        """Compute ahead of queries what judging these documents will need: call it with what you add to the store."""
        prepare(self.defenses, documents_of(documents))

    def explain(self, query: str) -> GuardedResult:
        """The whole result for a query: what was kept, what was not, and every verdict."""
        return self._guard.over(_Candidates(self.retriever)).retrieve(query, self.top_k)

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        candidates = _Candidates(self.retriever, run_manager.get_child())
        result = self._guard.over(candidates).retrieve(query, self.top_k)
        tell(result, run_manager.get_child())
        return guarded(result, candidates.documents)

    async def _aget_relevant_documents(self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun) -> list[Document]:
        candidates = _Candidates(self.retriever, run_manager.get_child())
        result = await self._guard.over(candidates).aretrieve(query, self.top_k)
        await atell(result, run_manager.get_child())
        return guarded(result, candidates.documents)


class _Candidates:
    """What the wrapped retriever finds for one query: RAGGuard's hits, and LangChain's documents."""

    def __init__(self, retriever: BaseRetriever, callbacks: Callbacks = None) -> None:
        self._retriever, self._config = retriever, RunnableConfig(callbacks=callbacks)
        self.documents: Sequence[Document] = ()

    def retrieve(self, query: str, k: int) -> list[Hit]:  # noqa: ARG002
        self.documents = self._retriever.invoke(query, self._config)
        return hits(self.documents)

    async def aretrieve(self, query: str, k: int) -> list[Hit]:  # noqa: ARG002
        self.documents = await self._retriever.ainvoke(query, self._config)
        return hits(self.documents)
