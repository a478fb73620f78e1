"""SourceQuota: at most a few results from one source, whatever they say; the premise of RobustRAG (arXiv 2405.15556)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ragguard.checks import positive
from ragguard.defenses.base import BaseDefense, Judgement, judgeable
from ragguard.errors import InvalidInputError
from ragguard.protocols import Retriever
from ragguard.text import words
from ragguard.types import Certificate, Document, GuardedResult, Hit

SHINGLE = 3
"""Words in a shingle (Broder, "On the resemblance and containment of documents", 1997, compares documents by such runs)."""

REMEMBERED = 512
"""Texts whose shingles are kept; 16 kB for one of 100 words, .4 MB for the longest that is judged."""


class SourceQuotaSettings(BaseModel):
    """Settings of SourceQuota.

    Attributes:
        limit: Documents of one source that may pass. 1 makes every result a voice of its own.
        key: Where in the metadata the source is.
        near_duplicates: Jaccard similarity of word shingles from which documents are near-duplicates; None looks at sources only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    limit: int = Field(default=1, ge=1)
    key: str = Field(default="source", min_length=1)
    near_duplicates: float | None = Field(default=None, gt=0, le=1)


class SourceQuota(BaseDefense):
    """Lets pass the first documents of each source and drops the others.

    A defense of the retrieval layer cannot tell a fluent lie from the truth, but it can count voices: with at most `limit`
    documents of one source, whoever controls b sources holds at most min(k, b * limit) of any k results. That bound on corrupted
    passages is the premise of readers such as RobustRAG (Xiang et al., arXiv 2405.15556), which read passages in isolation and
    aggregate the answers. What is beyond the limit is dropped, not demoted, so defenses after this one may rank as they like.

    The source is what was recorded at ingestion, compared as a string; it is never read from the text. Documents without one
    share one unknown source, lest leaving it out evades the quota. If no candidate has one, there is no quota, and nothing is
    certified.

    With `near_duplicates`, no document that passes resembles `limit` others that pass, whatever their sources. What was dropped
    has no say in this: else an attacker's surplus could push out the honest documents that it copies.
    """

    judges_content = False

    def __init__(self, limit: int = 1, *, key: str = "source", near_duplicates: float | None = None) -> None:
        """Configure; the arguments are those of `SourceQuotaSettings`.

        Args:
            limit: Documents of one source that may pass.
            key: Where in the metadata the source is.
            near_duplicates: Jaccard similarity from which documents are near-duplicates; None looks at sources only.

        Raises:
            InvalidInputError: If a setting is out of range.
        """
        try:
            self.settings = SourceQuotaSettings(limit=limit, key=key, near_duplicates=near_duplicates)
        except ValidationError as error:
            raise InvalidInputError(f"SourceQuota: {error}") from error
        duplicates = "" if near_duplicates is None else f", near duplicates>={near_duplicates:g}"
        self.name = f"SourceQuota(limit={limit}{duplicates})"

    @classmethod
    def calibrated(
        cls,
        retriever: Retriever,
        queries: Sequence[str],
        *,
        k: int = 10,
        key: str = "source",
        near_duplicates: float | None = None,
    ) -> SourceQuota:
        """The tightest quota under which none of these queries loses a document of its top k.

        Another query like these n then loses one with probability 1 / (n + 1) at most, whatever the sources are like. A quota of
        1 takes a document from 95 % of clean queries where few sources hold most of the corpus (README, nq_dev).

        Args:
            retriever: The undefended retriever.
            queries: Clean ones, like those that users ask.
            k: Results per query, at most.
            key: Where in the metadata the source is.
            near_duplicates: Jaccard similarity from which documents are near-duplicates; None looks at sources only.

        Raises:
            InvalidInputError: If there are no queries, or a setting is out of range.
        """
        if not queries:
            raise InvalidInputError("a quota is calibrated on clean queries; give at least one")
        limit = 1
        for query in queries:
            hits = [hit for hit in retriever.retrieve(query, positive(k)) if judgeable([hit.document])]
            while limit < k and cls(limit, key=key, near_duplicates=near_duplicates)(query, hits, k).removed:
                limit += 1
        return cls(limit, key=key, near_duplicates=near_duplicates)

    def __call__(self, query: str, hits: Sequence[Hit], k: int) -> GuardedResult:
        """As `BaseDefense`, with the certificate of provenance.

        Raises:
            InvalidInputError: If `k` is below 1, or two candidates have the same id.
        """
        result = super().__call__(query, hits, k)
        # Read off the verdicts, not the hits: the only source may be that of a document that could not be judged.
        counted = any("from_source" in verdict.signals for verdict in result.verdicts)
        return replace(result, certificates=(self._certificate(counted, k),))

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:  # noqa: ARG002
        """Count in the order of the candidates, which stays as it is."""
        limit, least = self.settings.limit, self.settings.near_duplicates
        sources = [self._source(hit.document) for hit in hits]
        recorded = any(source is not None for source in sources)
        seen: Counter[str | None] = Counter()
        taken: Counter[str | None] = Counter()
        passed: dict[int, frozenset[str]] = {}  # their shingles
        alike: dict[int, int] = {}  # of each that passed: how many others that passed resemble it
        judged, score = [], float("inf")
        for i, (hit, source) in enumerate(zip(hits, sources, strict=True)):
            seen[source] += 1
            over = recorded and taken[source] >= limit
            own = frozenset() if over or least is None else _shingles(hit.document.text)
            twins = [] if least is None else [j for j, other in passed.items() if _jaccard(own, other) >= least]
            # Neither this document nor any that passed may then resemble `limit` others.
            crowded = max([len(twins), *(alike[j] + 1 for j in twins)]) >= limit
            reason = f"{'Beyond' if over else 'Within'} the limit of {limit} from {_named(source)}."
            if not recorded:
                reason = f"No candidate has a {self.settings.key!r} in its metadata, so there is no quota."
            if crowded:
                reason = f"Resembles {hits[twins[0]].document.id!r}, which ranks better; of such documents {limit} may pass."
            signals = {"from_source": float(seen[source])} if recorded else {}
            if over or crowded:
                judged.append(Judgement(i, hit.score, reason, drop=True, signals=signals))
                continue
            taken[source] += 1
            alike.update({j: alike[j] + 1 for j in twins})
            alike[i], passed[i] = len(twins), own
            score = min(score, hit.score)  # a retriever's order is kept even where its scores do not fall
            judged.append(Judgement(i, score, reason, signals=signals))
        return judged

    def _source(self, document: Document) -> str | None:
        value = document.metadata.get(self.settings.key)
        return None if value is None else str(value) or None

    def _certificate(self, counted: bool, k: int) -> Certificate:
        limit, key = self.settings.limit, self.settings.key
        statement = (
            f"Whoever controls b sources holds at most min({k}, b * {limit}) of the top {k} results, whatever they wrote; "
            f"with one source, {min(k, limit)}."
        )
        if not counted:
            statement = f"Nothing is certified: provenance is missing, no candidate has a {key!r} in its metadata."
        assumption = (
            f"The metadata key {key!r} was recorded at ingestion, and the attacker controls no more than b of its values; "
            "all documents without one count as one source."
        )
        return Certificate(self.name, limit if counted else 0, statement, assumption)


def _named(source: str | None) -> str:
    return "the unknown source that all documents without one share" if source is None else f"source {source!r:.100}"


def _jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared)


@lru_cache(maxsize=REMEMBERED)
def _shingles(text: str) -> frozenset[str]:
    """Runs of three consecutive words, in lower case; a shorter text is one run."""
    text = text.lower()
    tokens = [text[span.start : span.end] for span in words(text)]
    return frozenset(" ".join(tokens[i : i + SHINGLE]) for i in range(max(len(tokens) - SHINGLE + 1, 1)))
