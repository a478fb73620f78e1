"""A component between a retriever and what reads its documents."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.core.errors import SerializationError
from haystack_integrations.components.rankers.ragguard.documents import documents_of, guarded, hits

from ragguard.audit import AuditLog
from ragguard.checks import positive
from ragguard.defenses import CalibratedGuard, SourceQuota, prepare
from ragguard.evaluation import models
from ragguard.evaluation.datasets import load_documents
from ragguard.protocols import Defense
from ragguard.retriever import Guard, GuardPolicy, Observers
from ragguard.types import GuardedResult


@component
class RAGGuard:
    """Lets pass the documents that its defenses keep. Put it behind the retriever, which should find about twice `top_k`.

    Made from files, it can be written to YAML with its pipeline; made from defenses (`RAGGuard.of`), it cannot.
    """

    def __init__(
        self,
        guard: str,
        corpus: str,
        *,
        model: str | None = None,
        quota: int | None = None,
        top_k: int = 5,
        deadline_s: float | None = None,
        audit: str | None = None,
    ) -> None:
        """Name the files; `warm_up` reads them.

        Args:
            guard: What `ragguard calibrate` wrote.
            corpus: The documents it was calibrated on: JSON lines with `text`.
            model: The encoder, as `ragguard calibrate --model` names it; None takes the offline one.
            quota: Documents of one source that may pass; None counts none.
            top_k: How many documents to return.
            deadline_s: Seconds after which judging a query ends in DeadlineExceededError; None waits.
            audit: A file to which a record of each decision is appended; None records nothing.

        Raises:
            InvalidInputError: If `top_k` or `quota` is below 1.
        """
        self.guard, self.corpus, self.model, self.quota = guard, corpus, model, quota
        self.top_k, self.deadline_s = positive(top_k, "top_k"), deadline_s
        if quota is not None:
            positive(quota, "quota")
        self.audit = audit
        self._defenses: tuple[Defense, ...] = ()
        self._guard: Guard | None = None
        self._loading = threading.Lock()

    @classmethod
    def of(
        cls,
        defenses: Sequence[Defense],
        *,
        top_k: int = 5,
        policy: GuardPolicy | None = None,
        observers: Observers | None = None,
    ) -> RAGGuard:
        """A component of defenses that you have made, such as those of `default_guard`.

        Raises:
            InvalidInputError: If there are no defenses, something is not a defense, or `top_k` is below 1.
        """
        guarding = cls("", "", top_k=top_k)
        guarding._defenses, guarding._guard = tuple(defenses), Guard(defenses, policy, observers=observers)
        return guarding

    def to_dict(self) -> dict[str, Any]:
        """For YAML.

        Raises:
            SerializationError: If it was made from defenses.
        """
        if not self.guard:
            raise SerializationError("defenses cannot be written; save the guard, and make RAGGuard from its file")
        names = ("guard", "corpus", "model", "quota", "top_k", "deadline_s", "audit")
        written: dict[str, Any] = default_to_dict(self, **{name: getattr(self, name) for name in names})
        return written

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RAGGuard:
        """From YAML."""
        restored: RAGGuard = default_from_dict(cls, data)
        return restored

    def warm_up(self) -> None:
        """Read the files and load the model, once.

        Raises:
            InvalidInputError: If a file is missing, damaged, or of another encoder.
        """
        self._loaded()

    async def warm_up_async(self) -> None:
        """As `warm_up`, without blocking the event loop."""
        await asyncio.to_thread(self.warm_up)

    def prepare(self, documents: Sequence[Document]) -> None:
        """Compute ahead of queries what judging these documents will need: call it with what you write to the document store."""
        self.warm_up()
        prepare(self._defenses, documents_of(documents))

    def explain(self, query: str, documents: Sequence[Document], top_k: int | None = None) -> GuardedResult:
        """The whole result: what was kept, what was not, and every verdict."""
        return self._loaded()(query, hits(documents), self.top_k if top_k is None else top_k)

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, list[Document]]:
        """The guarded top documents, best first.

        Args:
            query: The query's text.
            documents: The candidates, best first.
            top_k: Instead of the component's own; a guard's share of clean queries was calibrated for that one.

        Raises:
            RAGGuardError: If a defense fails or is late, or something is not a document.
        """
        return {"documents": guarded(self.explain(query, documents, top_k), documents)}

    @component.output_types(documents=list[Document])
    async def run_async(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, list[Document]]:
        """As `run`, without blocking the event loop."""
        guard = await asyncio.to_thread(self._loaded)
        result = await guard.acall(query, hits(documents), self.top_k if top_k is None else top_k)
        return {"documents": guarded(result, documents)}

    def _loaded(self) -> Guard:
        with self._loading:  # of two first queries at once, one waits
            if self._guard is None:
                loaded = CalibratedGuard.load(self.guard, models.load(self.model), load_documents(Path(self.corpus)))
                self._defenses = (loaded, *([] if self.quota is None else [SourceQuota(self.quota)]))
                observers = Observers([AuditLog(self.audit)]) if self.audit else None
                self._guard = Guard(self._defenses, GuardPolicy(deadline_s=self.deadline_s), observers=observers)
            return self._guard
