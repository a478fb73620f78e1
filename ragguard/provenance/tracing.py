"""What results rest on: their documents, batches and sources, and what would come in without each of these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from ragguard.checks import positive, query_text
from ragguard.errors import InvalidInputError
from ragguard.protocols import Defense, Retriever
from ragguard.provenance import corpus
from ragguard.provenance.history import Expected, replay
from ragguard.provenance.ledger import Ledger
from ragguard.retriever import GuardedRetriever, GuardPolicy
from ragguard.types import Document, Hit

Origin: TypeAlias = Literal["document", "batch", "source"]
"""What results are traced to: each document by itself, or what the metadata has under `batch` or `source`."""

ORIGINS: tuple[Origin, ...] = ("document", "batch", "source")
RECORDED = ("source", "batch", "principal")


@dataclass(frozen=True)
class Result:
    """A result, and where it is from.

    Attributes:
        document: Its id.
        score: As it ranked.
        source: Who it is from; None if that is not recorded.
        batch: What it came with; None likewise.
        principal: Who brought it in; None likewise.
    """

    document: str
    score: float
    source: str | None
    batch: str | None
    principal: str | None


@dataclass(frozen=True)
class Without:
    """The same query in a corpus without one origin, judged anew.

    Attributes:
        kind: Of the origin.
        name: Id of the document, or name of the batch or source; None is all of whom none is recorded.
        documents: Ids of the results that it has, best first.
        entering: What comes in without it, best first.
        leaving: Ids of other results that go with it, since defenses judge documents beside each other.
    """

    kind: Origin
    name: str | None
    documents: tuple[str, ...]
    entering: tuple[Result, ...]
    leaving: tuple[str, ...]


@dataclass(frozen=True)
class Trace:
    """What the results of a query rest on.

    Attributes:
        query: The query.
        k: How many results were asked for.
        results: Best first.
        without: For each origin of a result what would be there without it, origins of a kind in the order of their results.
    """

    query: str
    k: int
    results: tuple[Result, ...]
    without: tuple[Without, ...]


@dataclass(frozen=True)
class Influence:
    """How much of the results of many queries is of one batch or source.

    Attributes:
        name: Of the batch or source; None is all of whom none is recorded.
        queries: In how many queries' results it is.
        query_share: The same as a share of all queries.
        slots: How many results are its.
        slot_share: The same as a share of all results.
    """

    name: str | None
    queries: int
    query_share: float
    slots: int
    slot_share: float


class Tracer:
    """Asks a guarded retriever as a user does, and again without the origins of what came back."""

    def __init__(self, retriever: Retriever, defenses: Sequence[Defense] = (), policy: GuardPolicy | None = None) -> None:
        """Bind.

        Args:
            retriever: What finds candidates; `source`, `batch` and `principal` are read from the metadata of its hits.
            defenses: As those of `GuardedRetriever`; with none, what is traced is the undefended retriever.
            policy: As that of `GuardedRetriever`.
        """
        self._retriever, self._defenses, self._policy = retriever, tuple(defenses), policy

    def trace(self, query: str, k: int = 10, kinds: Iterable[Origin] = ORIGINS) -> Trace:
        """Trace the results of a query; each origin costs a judgement of new candidates, but no further embedding of the query.

        Args:
            query: The query's text.
            k: Number of results, at least 1.
            kinds: What they are traced to.

        Raises:
            InvalidInputError: If `k` is below 1 or the query has no text.
            RAGGuardError: As `GuardedRetriever.retrieve` raises it.
        """
        retriever = _Remembering(self._retriever)
        kept = self._results(retriever, query, k)
        without = []
        for kind in kinds:
            for name in dict.fromkeys(origin(hit.document, kind) for hit in kept):
                left = self._results(_Lacking(retriever, kind, name), query, k)
                before, after = {hit.document.id for hit in kept}, {hit.document.id for hit in left}
                own = tuple(hit.document.id for hit in kept if origin(hit.document, kind) == name)
                entering = tuple(_result(hit) for hit in left if hit.document.id not in before)
                leaving = tuple(hit.document.id for hit in kept if hit.document.id not in {*after, *own})
                without.append(Without(kind, name, own, entering, leaving))
        return Trace(query_text(query), k, tuple(map(_result, kept)), tuple(without))

    def influence(
        self,
        queries: Sequence[str],
        k: int = 10,
        kind: Origin = "batch",
        step: Callable[[int, int], None] = lambda *_: None,
    ) -> tuple[Influence, ...]:
        """Who has how much of the results of a query log, most first.

        Args:
            queries: The log.
            k: Number of results for each, at least 1.
            kind: Whose influence.
            step: Called before each query with how many are done, and how many there are.

        Raises:
            InvalidInputError: If there are no queries, or one has no text.
            RAGGuardError: As `GuardedRetriever.retrieve` raises it.
        """
        if not queries:
            raise InvalidInputError("influence is measured over queries; give at least one")
        slots: Counter[str | None] = Counter()
        among: Counter[str | None] = Counter()
        for done, query in enumerate(queries):
            step(done, len(queries))
            names = [origin(hit.document, kind) for hit in self._results(self._retriever, query, k)]
            slots.update(names)
            among.update(set(names))
        total = max(slots.total(), 1)
        return tuple(
            Influence(name, among[name], among[name] / len(queries), count, count / total) for name, count in slots.most_common()
        )

    def _results(self, retriever: Retriever, query: str, k: int) -> Sequence[Hit]:
        if not self._defenses:
            return retriever.retrieve(query_text(query), positive(k))
        return GuardedRetriever(retriever, self._defenses, self._policy).retrieve(query, k).kept


def origin(document: Document, kind: Origin) -> str | None:
    """Where a document is from, as its metadata has it; None if that is not recorded."""
    return document.id if kind == "document" else corpus.metadata_text(document, kind)


def recorded(manifest: Path, sources: Sequence[Path], expected: Expected | None = None) -> tuple[Document, ...]:
    """The documents of files, with the provenance that a manifest recorded of them in place of what their metadata says.

    A document that is not in the manifest, or not as it was recorded, has no source, batch and principal.

    Args:
        manifest: Of the corpus.
        sources: Files of JSON lines, or folders with `corpus.jsonl`.
        expected: Who must have signed the manifest, and how new it must be.

    Raises:
        InvalidInputError: If a file cannot be read.
        ManifestError: If the manifest is damaged, forged or not what is expected.
    """
    documents = []
    with Ledger() as ledger:
        replay(manifest, ledger, expected)
        for line in corpus.lines(corpus.files(sources)):
            document, content = line.read()
            entry = ledger.entry(document.id)
            known = {name: getattr(entry, name) for name in RECORDED} if entry and entry.content == content else {}
            rest = {name: value for name, value in document.metadata.items() if name not in RECORDED}
            documents.append(
                replace(document, metadata={**rest, **{name: value for name, value in known.items() if value is not None}})
            )
    return tuple(documents)


def _result(hit: Hit) -> Result:
    return Result(hit.document.id, float(hit.score), *(corpus.metadata_text(hit.document, name) for name in RECORDED))


class _Remembering:
    """A retriever that is asked each depth once."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._depth, self._hits = 0, tuple[Hit, ...]()

    def retrieve(self, query: str, k: int) -> Sequence[Hit]:
        if self._depth < k:
            self._hits, self._depth = tuple(self._retriever.retrieve(query, k)), k
        return self._hits[:k]


class _Lacking:
    """A retriever over the corpus without one origin."""

    def __init__(self, retriever: Retriever, kind: Origin, name: str | None) -> None:
        self._retriever, self._kind, self._name = retriever, kind, name

    def retrieve(self, query: str, k: int) -> Sequence[Hit]:
        depth = 2 * k
        while True:
            hits = self._retriever.retrieve(query, depth)
            left = [hit for hit in hits if origin(hit.document, self._kind) != self._name]
            if len(left) >= k or len(hits) < depth:
                return left[:k]
            depth *= 2
