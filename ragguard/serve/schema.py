"""What goes over the wire. Descriptions in the OpenAPI document are those of the docstrings, here and in `ragguard.types`."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from ragguard.defenses import Policy
from ragguard.defenses.base import MAX_CHARACTERS
from ragguard.types import Certificate, Contest, QueryFinding, Verdict

HITS = 100
"""Most hits of a request: five times what is to be asked for at k=10."""

TEXT = 8 * MAX_CHARACTERS
"""Longest text in characters. What is longer than MAX_CHARACTERS is no error: it is judged unfit and not returned, so that a long
document that was planted cannot stop a query."""

QUERY = 4096
"""Longest query in characters. The work on some signals grows with it."""

BODY = HITS * MAX_CHARACTERS
"""Bytes of a request: as many hits as there may be, each as long as is judged."""

ErrorKind: TypeAlias = Literal[
    "bad_request",
    "not_found",
    "method_not_allowed",
    "too_large",
    "invalid_input",
    "too_many_requests",
    "guard_failed",
    "store_unavailable",
    "too_late",
]


class Wire(BaseModel):
    """Nothing is guessed: an unknown key is an error, and so is a string for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _whole(value: object) -> object:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


Text: TypeAlias = Annotated[str, BeforeValidator(_whole)]
"""Half of a surrogate pair, as programs send that cut texts by UTF-16 units, becomes a question mark: one text must not stop a
query."""


class Candidate(Wire):
    """A hit, as your retriever ranked it.

    Attributes:
        id: Of the document; each once.
        text: What would be read.
        score: Higher is better.
        metadata: `source` says who brought the document in, as recorded at ingestion; the rest is not looked at.
    """

    id: Text = Field(min_length=1, max_length=1024)
    text: Text = Field(max_length=TEXT)
    score: float = Field(strict=True, allow_inf_nan=False)
    metadata: dict[str, JsonValue] = {}


class Question(Wire):
    """A query and what your retriever found for it.

    Attributes:
        query: The query's text.
        k: How many hits to keep, at most as many as the guard was calibrated for.
        hits: Best first; about twice as many as are to be kept.
    """

    query: Text = Field(min_length=1, max_length=QUERY)
    k: int = Field(strict=True, ge=1)
    hits: list[Candidate] = Field(max_length=HITS)

    @model_validator(mode="after")
    def _best_first(self) -> Question:
        for better, worse in pairwise(self.hits):
            if better.score < worse.score:
                raise ValueError(f"hits must come best first, and {worse.id!r} scores more than {better.id!r} before it")
        return self


class Kept(Wire):
    """A hit that passed.

    Attributes:
        id: Of the document.
        text: What to read: the text that was judged, without characters that show nothing.
        score: The retriever's, or that of the defense that ranked last.
    """

    id: str
    text: str
    score: float


class Answer(Wire):
    """What to read, and what not, and why. Spans count characters (code points) of texts as they were sent.

    Attributes:
        query: The query that was judged, without characters that show nothing.
        k: How many hits were asked for.
        kept: At most k hits, best first. Read these, and no others.
        reserve: Ids of what passed but ranks below k, best first.
        removed: Ids of what a defense dropped.
        lost: Ids of the undefended top k that were not kept.
        verdicts: One for each defense and hit: what was decided, and why.
        certificates: What holds for this answer by construction.
        contests: What kept hits of different sources disagree about.
        query_findings: What in the query itself looks like part of an attack; the ranking does not depend on it.
    """

    query: str
    k: int
    kept: list[Kept]
    reserve: list[str]
    removed: list[str]
    lost: list[str]
    verdicts: tuple[Verdict, ...]
    certificates: tuple[Certificate, ...]
    contests: tuple[Contest, ...]
    query_findings: tuple[QueryFinding, ...]


class Model(Wire):
    """The encoder.

    Attributes:
        name: As it was asked for.
        fingerprint: Of whatever decides what a text's vector is.
        dimension: Length of its vectors.
    """

    name: str
    fingerprint: str
    dimension: int


class Stops(Wire):
    """What is stopped of one form of attack.

    Attributes:
        form: What was planted.
        planted: How many texts.
        stopped: How many were above the threshold.
        low: Lower end of the 95 % interval of the share that is stopped.
        high: Its upper end.
    """

    form: str
    planted: int
    stopped: int
    low: float
    high: float


class Calibrated(Wire):
    """What the guard was calibrated on, and what it holds.

    Attributes:
        queries: Queries that set the threshold.
        derived: Whether they were derived from documents; then no share is guaranteed.
        documents: How many different texts the corpus had then.
        max_clean_query_loss: Share of clean queries that may lose a document.
        policy: What is done with a suspicious document.
        threshold: The suspicion above which a document is one.
        promise: What share of clean queries may lose a document, and when that holds.
        stops: What it stopped of attacks on itself when it was calibrated, by form; empty where that was not tried.
        weak: Forms that it does not stop.
        report: The same in sentences, with the reasons.
    """

    queries: int
    derived: bool
    documents: int
    max_clean_query_loss: float
    policy: Policy
    threshold: float
    promise: str
    stops: tuple[Stops, ...]
    weak: tuple[str, ...]
    report: str


class Live(Wire):
    """What came since the start.

    Attributes:
        queries: Judged.
        suspicious: Those with a suspicious document among their results.
        warning: What to do where these are clearly more than was calibrated for; else null.
    """

    queries: int
    suspicious: int
    warning: str | None


class Health(Wire):
    """That it can judge, and what is loaded.

    Attributes:
        status: Always ok; what cannot judge answers with another status code.
        version: Of RAGGuard.
        defenses: Names, in turn.
        k: How many hits may be asked for.
        documents: How many the corpus has.
        model: The encoder.
        calibration: Of the guard.
        evidence: Where it is kept.
        live: What came since the start.
        unrecorded: How many times an audit log or a counter missed a query; null where nothing is recorded.
    """

    status: Literal["ok"]
    version: str
    defenses: tuple[str, ...]
    k: int
    documents: int
    model: Model
    calibration: Calibrated
    evidence: Literal["memory", "database"]
    live: Live
    unrecorded: int | None


class Problem(Wire):
    """Why there is no answer. Never read hits that were not judged instead.

    Attributes:
        error: What kind of problem it is.
        message: The same for people, and what to do.
    """

    error: ErrorKind
    message: str


def described(document: dict[str, Any]) -> dict[str, Any]:
    """An OpenAPI document with what docstrings say of attributes at the properties themselves."""
    for schema in document["components"]["schemas"].values():
        summary, _, attributes = schema.get("description", "").partition("\n\nAttributes:\n")
        schema["description"] = summary
        for name, text in re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", attributes, re.MULTILINE):
            schema["properties"][name]["description"] = re.sub(r"\s+", " ", text)
    return document
