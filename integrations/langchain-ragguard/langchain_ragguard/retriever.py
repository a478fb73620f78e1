"""A retriever that guards another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from pydantic import ConfigDict, PrivateAttr

from langchain_ragguard.documents import documents_of, guarded, hits
from ragguard.checks import positive
from ragguard.defenses import prepare
from ragguard.errors import RAGGuardError, RetrieverError
from ragguard.protocols import Defense
from ragguard.retriever import Guard, GuardPolicy
from ragguard.types import GuardedResult


class RAGGuardRetriever(BaseRetriever):
    """Wraps any LangChain retriever; nothing it returns is unguarded.

    The wrapped retriever is used through its public `invoke` / `ainvoke` and never changed: how many candidates there are is
    its own setting, about twice `top_k`. Callbacks see both runs, the wrapped one as a child.

    Attributes:
        retriever: Finds the candidates.
        defenses: Applied in turn.
        top_k: How many documents to return.
        policy: Deadline for the defenses, and what happens when one fails.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retriever: BaseRetriever
    defenses: Sequence[Any]
    top_k: int = 5
    policy: GuardPolicy = GuardPolicy()
    _guard: Guard = PrivateAttr()

    def model_post_init(self, _: Any, /) -> None:
        """Check the settings.

        Raises:
            ValidationError: Pydantic's: if there are no defenses, something is no defense, or `top_k` is below 1.
        """
        positive(self.top_k, "top_k")
        self._guard = Guard(self.defenses, self.policy)

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
        depth = kwargs.get("policy", GuardPolicy()).overfetch * positive(top_k, "top_k") if candidates is None else candidates
        return cls(retriever=store.as_retriever(search_kwargs={"k": depth}), defenses=defenses, top_k=top_k, **kwargs)

    def prepare(self, documents: Sequence[Document]) -> None:
        """Compute ahead of queries what judging these documents will need: call it with what you add to the store."""
        prepare(self.defenses, documents_of(documents))

    def explain(self, query: str) -> GuardedResult:
        """The whole result for a query: what was kept, what was not, and every verdict."""
        return self._guard(query, hits(self._found(query, None)), self.top_k)

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        found = self._found(query, run_manager)
        return guarded(self._guard(query, hits(found), self.top_k), found)

    async def _aget_relevant_documents(self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun) -> list[Document]:
        try:
            found = await self.retriever.ainvoke(query, config={"callbacks": run_manager.get_child()})
        except Exception as error:
            raise _failed(error) from error
        return guarded(await self._guard.acall(query, hits(found), self.top_k), found)

    def _found(self, query: str, run_manager: CallbackManagerForRetrieverRun | None) -> list[Document]:
        try:
            return self.retriever.invoke(query, config={"callbacks": run_manager.get_child()} if run_manager else None)
        except Exception as error:
            raise _failed(error) from error


def _failed(error: Exception) -> RAGGuardError:
    return error if isinstance(error, RAGGuardError) else RetrieverError(f"the wrapped retriever failed: {error!r}")
