"""An audit record: what was decided on one query, by what, and why; without anybody's text unless it is asked for."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ragguard import __version__
from ragguard.defenses.base import BaseDefense
from ragguard.protocols import Defense
from ragguard.retriever import Decision
from ragguard.text import content_key, whole, writable
from ragguard.types import Action, ContestKind, FindingKind, Hit, Verdict

FORMAT = 1
"""Of a record."""

SOURCE = "source"
"""The metadata that is recorded."""

SEALED = re.compile(rb'(.*),"digest":"([0-9a-f]{64})"}\n', re.DOTALL)
"""A line, and the digest that ends it."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Judge(_Part):
    """A defense that was to judge.

    Attributes:
        name: As in its verdicts.
        kind: Its class.
        described: Its `describe()`: settings, thresholds, digests of calibration and corpus. Empty for one that has none.
    """

    name: str
    kind: str
    described: Mapping[str, Any] = Field(default_factory=dict)


class Candidate(_Part):
    """A document that was judged.

    Attributes:
        id: Its id.
        hash: SHA-256 of its canonical text.
        score: The retriever's.
        source: Under that metadata key, as text; None where there is none.
        text: What the retriever returned; None unless texts are recorded.
    """

    id: str
    hash: str
    score: float
    source: str | None = None
    text: str | None = None


class Decided(_Part):
    """A verdict, see `ragguard.types.Verdict`.

    Attributes:
        document: Id of the candidate.
        defense: Who decided.
        action: What.
        reason: Why; RAGGuard's own defenses quote no text in it, but ids and the metadata that a quota counts by.
        before: Rank before.
        after: Rank after; None if dropped.
        signals: The numbers behind it.
        suspicion: On the defense's scale.
        spans: Start and end of what the reason is about, in characters of the text as the retriever returned it.
    """

    document: str
    defense: str
    action: Action
    reason: str
    before: int
    after: int | None
    signals: Mapping[str, float]
    suspicion: float | None
    spans: tuple[tuple[int, int], ...]


class Found(_Part):
    """Something in the query that looks like part of an attack.

    Attributes:
        kind: What.
        span: Start and end, in characters of the query as it was asked.
    """

    kind: FindingKind
    span: tuple[int, int]


class Record(_Part):
    """One line of an audit log.

    Attributes:
        format: Of the record.
        writer: Random name of the log object that wrote it.
        number: Of the decision, from 1: a gap is one that was not recorded.
        previous: Digest of the writer's record before; empty in its first.
        time: When the query came, UTC.
        seconds: From then to the answer.
        stages: Name and seconds of each part of the work.
        version: Of RAGGuard.
        guard: Digest of `policy` and `judges`: the same guard has the same.
        policy: How defenses were applied.
        judges: The defenses, in their order, as they describe themselves when the record is written.
        query_hash: SHA-256 of the canonical query. It keeps no secret: whoever guesses the query can check the guess.
        query: As it was asked; None unless texts are recorded.
        k: How many hits were asked for.
        outcome: `answered`, `degraded`, or the class of the error that was raised.
        error: What it said; None unless texts are recorded, since it may quote one.
        candidates: What was judged, in the retriever's order; empty after an error.
        kept: Ids of what was returned, best first.
        reserve: Ids of what passed but ranked below k.
        removed: Ids of what was dropped.
        verdicts: One for each defense and candidate that it was given.
        degraded: Which defenses did not run; why is said where texts are recorded.
        contests: What kept documents of different sources disagree about.
        found: What the query itself has of an attack.
        digest: SHA-256 of the line before it; empty until it is written. It shows damage, and what was taken out; not what was
            written by someone who can compute it, too.
    """

    format: int = FORMAT
    writer: str
    number: int = Field(ge=1)
    previous: str
    time: datetime
    seconds: float
    stages: tuple[tuple[str, float], ...]
    version: str = __version__
    guard: str
    policy: Mapping[str, Any]
    judges: tuple[Judge, ...]
    query_hash: str
    query: str | None = None
    k: int
    outcome: str
    error: str | None = None
    candidates: tuple[Candidate, ...] = ()
    kept: tuple[str, ...] = ()
    reserve: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    verdicts: tuple[Decided, ...] = ()
    degraded: tuple[str, ...] = ()
    contests: tuple[ContestKind, ...] = ()
    found: tuple[Found, ...] = ()
    digest: str = ""

    def line(self) -> tuple[bytes, str]:
        """As it is written, and its digest: of the bytes of all that is before it in the line."""
        body = self.model_dump_json(exclude={"digest"}).encode()[:-1]
        name = hashlib.sha256(body).hexdigest()
        return b'%b,"digest":"%b"}\n' % (body, name.encode()), name

    @classmethod
    def of(cls, line: bytes) -> Record:
        """What a line says.

        Raises:
            ValueError: With what is wrong with it.
        """
        match = SEALED.fullmatch(line)
        if match is None:
            raise ValueError("it is no record: half a line, or another file")
        if hashlib.sha256(match[1]).hexdigest().encode() != match[2]:
            raise ValueError("its digest is not that of what it says")
        try:
            entry = cls.model_validate_json(line)
        except ValidationError as error:
            raise ValueError(f"it is no record: {error.errors()[0]['msg']}") from None
        if entry.format != FORMAT:
            raise ValueError(f"it has format {entry.format}; this reads {FORMAT}")
        return entry


def record(decision: Decision, writer: str, previous: str, texts: bool = False) -> Record:
    """The record of a decision.

    Args:
        decision: What an observer is told.
        writer: Who writes.
        previous: Digest of its record before.
        texts: Record the query, the candidates' texts and errors, too.
    """
    judges, policy = judges_of(decision.defenses), decision.policy.model_dump(mode="json")
    result = decision.result
    answer: dict[str, Any] = {}
    if result is not None:
        answer = {
            "candidates": tuple(_candidate(hit, texts) for hit in result.candidates),
            "kept": _ids(result.kept),
            "reserve": _ids(result.reserve),
            "removed": _ids(result.removed),
            "verdicts": tuple(map(decided, result.verdicts)),
            "degraded": tuple(writable(sentence if texts else sentence.partition(": ")[0]) for sentence in result.degraded),
            "contests": tuple(contest.kind for contest in result.contests),
            "found": tuple(
                Found(kind=finding.kind, span=(finding.span.start, finding.span.end)) for finding in result.query_findings
            ),
        }
    return Record(
        writer=writer,
        number=decision.number,
        previous=previous,
        time=datetime.fromtimestamp(decision.started, timezone.utc),
        seconds=decision.seconds,
        stages=tuple((writable(stage.name), stage.seconds) for stage in decision.stages),
        guard=guard_digest(judges, policy),
        policy=policy,
        judges=judges,
        query_hash=content_key(decision.asked),
        query=whole(decision.asked) if texts else None,
        k=decision.k,
        outcome=decision.outcome,
        error=writable(decision.error) if texts and decision.error is not None else None,
        **answer,
    )


def judges_of(defenses: tuple[Defense, ...]) -> tuple[Judge, ...]:
    """Defenses as they are recorded."""
    return tuple(map(_judge, defenses))


def decided(verdict: Verdict) -> Decided:
    """A verdict as it is recorded."""
    return Decided(
        document=writable(verdict.document_id),
        defense=writable(verdict.defense),
        action=verdict.action,
        reason=writable(verdict.reason),
        before=verdict.rank_before,
        after=verdict.rank_after,
        signals={writable(name): _number(value) for name, value in verdict.signals.items()},
        suspicion=None if verdict.suspicion is None else _number(verdict.suspicion),
        spans=tuple((span.start, span.end) for span in verdict.spans),
    )


def guard_digest(judges: tuple[Judge, ...], policy: Mapping[str, Any]) -> str:
    """What a guard is known by."""
    described = {"policy": policy, "judges": [judge.model_dump(mode="json") for judge in judges]}
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _judge(defense: Defense) -> Judge:
    described = defense.describe() if isinstance(defense, BaseDefense) else {}
    judge = Judge(name=writable(defense.name), kind=type(defense).__name__, described=described)
    return Judge.model_validate_json(judge.model_dump_json())  # as it is read again: lists for tuples


def _candidate(hit: Hit, texts: bool) -> Candidate:
    document = hit.document
    source = document.metadata.get(SOURCE)
    return Candidate(
        id=writable(document.id),
        hash=content_key(document.text),
        score=hit.score,
        source=None if source is None else writable(source),
        text=whole(document.text) if texts else None,
    )


def _ids(hits: tuple[Hit, ...]) -> tuple[str, ...]:
    return tuple(writable(hit.document.id) for hit in hits)


def _number(value: object) -> float:
    """NaN where another's defense has told what is no number: no record is lost for that."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan
