"""Every dependency, failing in every way: a typed error, or by an explicit policy a result that is marked degraded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest

from ragguard.defenses import BaseDefense, CalibratedGuard, Judgement, RAGMask, RAGPart, RobustScore, SourceQuota
from ragguard.demo.scenario import DATA
from ragguard.errors import (
    DeadlineExceededError,
    DefenseError,
    EncoderError,
    RAGGuardError,
    RetrieverError,
    StoreError,
)
from ragguard.evaluation.datasets import load
from ragguard.evidence import MemoryStore
from ragguard.index import DenseIndex
from ragguard.protocols import Defense
from ragguard.retriever import Guard, GuardedRetriever, GuardPolicy
from ragguard.testing import DOCUMENTS, QUERY, WordHashEncoder
from ragguard.types import Document, Evidence, GuardedResult, Hit, Vectors

HANG_S, DEADLINE_S = 1.0, 0.2
DEMO = load(DATA)
NUMBERS = count()

Spoil = Callable[[Any], Any]


def fail(_: Any) -> Any:
    raise ConnectionError("it is down")


def hang(found: Any) -> Any:
    time.sleep(HANG_S)
    return found


def with_nan(vectors: Vectors) -> Vectors:
    spoilt = vectors.copy()
    spoilt[-1, 0] = np.nan
    return spoilt


def evidence(change: Callable[[Evidence], object]) -> Spoil:
    """A change of everything that a store finds."""
    return lambda found: [item and change(item) for item in found]


ENCODER: Mapping[str, Spoil] = {
    "raises": fail,
    "hangs": hang,
    "NaN": with_nan,
    "short batch": lambda found: found[:-1],
    "wrong shape": lambda found: found[:, :-1],
    "no vectors": lambda _: None,
}
STORE: Mapping[str, Spoil] = {
    "raises": fail,
    "hangs": hang,
    "NaN": evidence(lambda item: replace(item, vectors=with_nan(item.vectors))),
    "zeros": evidence(lambda item: replace(item, vectors=0 * item.vectors)),
    "short batch": lambda found: found[:-1],
    "no batch": lambda _: None,
    "wrong shape": evidence(lambda item: replace(item, vectors=item.vectors[:, :-1])),
    "too few rows": evidence(lambda item: replace(item, vectors=item.vectors[:-1])),
    "no evidence": evidence(lambda _: "text"),
}
RETRIEVER: Mapping[str, Spoil] = {
    "raises": fail,
    "hangs": hang,
    "None": lambda _: None,
    "texts": lambda found: [hit.document.text for hit in found],
    "a generator": lambda found: (hit for hit in found),
    "two texts of one id": lambda found: [*found, Hit(Document(found[0].document.id, "another text"), 0.0)],
}
DEFENSE: Mapping[str, Spoil] = {
    "raises": fail,
    "hangs": hang,
    "None": lambda _: None,
    "NaN": lambda judged: [replace(one, score=float("nan")) for one in judged],
    "short batch": lambda judged: judged[:-1],
    "twice": lambda judged: [*judged, judged[0]],
    "unordered": lambda judged: judged[::-1],
    "positions": lambda judged: [replace(one, position=99) for one in judged],
    "wrong type": lambda judged: ["keep"] * len(judged),
}


class Encoder(WordHashEncoder):
    """Whose answers are spoilt while a test wants it."""

    spoil: Spoil | None = None

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        found = super().encode_document(texts)
        return found if self.spoil is None else self.spoil(found)


class Store(MemoryStore):
    spoil: Spoil | None = None

    def get(self, keys: Sequence[str]) -> list[Evidence | None]:
        found = super().get(keys)
        return found if self.spoil is None else self.spoil(found)


class Full(MemoryStore):
    def put(self, items: Mapping[str, Evidence]) -> None:
        raise OSError(28, "No space left on device")


class Retriever:
    def __init__(self, spoil: Spoil = list) -> None:
        self._spoil = spoil

    def retrieve(self, query: str, k: int) -> Any:
        return self._spoil(fresh()[:k])


class Own(BaseDefense):
    """A user's defense."""

    name = "own"

    def __init__(self, spoil: Spoil = list) -> None:
        self._spoil = spoil

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Any:
        return self._spoil([Judgement(i, hit.score, "Fine.") for i, hit in enumerate(hits)])


class Foreign:
    """A defense of somebody else's, which derives from nothing."""

    name = "foreign"

    def __init__(self, change: Callable[[GuardedResult], Any]) -> None:
        self._change = change

    def __call__(self, query: str, hits: Sequence[Hit], k: int) -> Any:
        return self._change(Own()(query, hits, k))


def fresh() -> list[Hit]:
    """Hits whose texts nobody has seen: evidence of them is asked for."""
    number = next(NUMBERS)
    return [Hit(replace(one, text=f"{one.text} Copy {number}."), 1 - i / 10) for i, one in enumerate(DOCUMENTS)]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture(scope="module")
def store() -> Store:
    return Store()


@pytest.fixture(scope="module")
def defenses(encoder: Encoder, store: Store) -> dict[str, Defense]:
    """Each that asks an encoder and a store."""
    index = DenseIndex(encoder, backend="faiss")
    index.add(DEMO.documents)
    known = {"k": 5, "max_clean_query_loss": 0.05, "store": store}
    return {
        "calibrated": CalibratedGuard.calibrated(encoder, index, DEMO.documents, list(DEMO.queries.values()), **known),  # type: ignore[arg-type]
        "ragpart": RAGPart(encoder, store=store),
        "ragmask": RAGMask(encoder, m=5, store=store),
        "robust": RobustScore(encoder, a=0.1, b=1.0, store=store),
    }


@pytest.fixture(autouse=True)
def mended(encoder: Encoder, store: Store) -> Iterator[None]:
    yield
    encoder.spoil = store.spoil = None


def guarded(retriever: Any, defenses: Sequence[Defense], **policy: Any) -> GuardedRetriever:
    return GuardedRetriever(retriever, defenses, GuardPolicy(**{"deadline_s": 20, **policy}))


def both(made: GuardedRetriever) -> Iterator[Callable[[], GuardedResult]]:
    """The same query in both forms."""
    yield lambda: made.retrieve(QUERY, 3)
    yield lambda: asyncio.run(made.aretrieve(QUERY, 3))


def refused(made: GuardedRetriever, kind: type[RAGGuardError]) -> None:
    for asked in both(made):
        with pytest.raises(kind):
            asked()


NAMES = ("calibrated", "ragpart", "ragmask", "robust")
BELOW = [(where, how) for where, faults in (("encoder", ENCODER), ("store", STORE)) for how in faults]


@pytest.fixture
def broken(request: pytest.FixtureRequest, encoder: Encoder, store: Store) -> tuple[str, str]:
    where, how = request.param
    if where == "encoder":
        encoder.spoil = ENCODER[how]
    else:
        store.spoil = STORE[how]
    return where, how


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("broken", BELOW, indirect=True, ids="-".join)
def test_encoder_and_store_fail_closed(name: str, broken: tuple[str, str], defenses: dict[str, Defense]) -> None:
    where, how = broken
    if how == "hangs":
        refused(guarded(Retriever(), [defenses[name]], deadline_s=DEADLINE_S), DeadlineExceededError)
    else:
        refused(guarded(Retriever(), [defenses[name]]), EncoderError if where == "encoder" else StoreError)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("broken", BELOW, indirect=True, ids="-".join)
def test_encoder_and_store_fail_open_by_policy_only_and_say_so(
    name: str, broken: tuple[str, str], defenses: dict[str, Defense]
) -> None:
    policy = {"deadline_s": DEADLINE_S, "on_deadline": "degrade"} if broken[1] == "hangs" else {"fail_open": True}
    result = guarded(Retriever(), [SourceQuota(1), defenses[name]], **policy).retrieve(QUERY, 3)
    assert [one.startswith(f"{defenses[name].name} did not run: ") for one in result.degraded] == [True]
    assert len({hit.document.metadata["source"] for hit in result.kept}) == 3, "what ran before has its effect"
    assert result.removed


def test_a_store_that_is_full_fails_closed(encoder: Encoder) -> None:
    made = [RAGPart(encoder, store=Full())]
    refused(guarded(Retriever(), made), StoreError)
    assert "No space left" in guarded(Retriever(), made, fail_open=True).retrieve(QUERY, 3).degraded[0]


@pytest.mark.parametrize("how", RETRIEVER)
def test_a_retriever_fails_closed_whatever_the_policy_is(how: str) -> None:
    policy = {"deadline_s": DEADLINE_S} if how == "hangs" else {}
    for more in ({}, {"fail_open": True, "on_deadline": "degrade"}):
        made = guarded(Retriever(RETRIEVER[how]), [Own()], **policy, **more)
        refused(made, DeadlineExceededError if how == "hangs" else RetrieverError)


@pytest.mark.parametrize("how", DEFENSE)
def test_a_defense_fails_closed_and_open_by_policy_only(how: str) -> None:
    made = [SourceQuota(1), Own(DEFENSE[how])]
    if how == "hangs":
        refused(guarded(Retriever(), made, deadline_s=DEADLINE_S), DeadlineExceededError)
        opened = guarded(Retriever(), made, deadline_s=DEADLINE_S, on_deadline="degrade")
    else:
        refused(guarded(Retriever(), made), DefenseError)
        opened = guarded(Retriever(), made, fail_open=True)
    for asked in both(opened):
        result = asked()
        assert [one.startswith("own did not run: ") for one in result.degraded] == [True]
        assert len(result) == 3
        assert len(result.removed) == 3, "six candidates of three sources"


FOREIGN: Mapping[str, Callable[[GuardedResult], Any]] = {
    "None": lambda _: None,
    "hits": lambda result: list(result.kept),
    "short": lambda result: replace(result, kept=result.kept[1:]),
    "no verdicts": lambda result: replace(result, verdicts=()),
    "another text": lambda result: replace(result, kept=tuple(hit.with_text("another") for hit in result.kept)),
    "twice": lambda result: replace(result, kept=result.kept[:1] * 6, reserve=()),
    "not hits": lambda result: replace(result, kept=("text",)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("how", FOREIGN)
def test_what_is_no_result_of_a_defense_fails_closed(how: str) -> None:
    made = [Foreign(FOREIGN[how])]
    refused(guarded(Retriever(), made), DefenseError)
    assert guarded(Retriever(), made, fail_open=True).retrieve(QUERY, 3).degraded


def test_what_was_judged_by_the_deadline_is_answered_where_the_policy_says_so() -> None:
    class Slow(Retriever):
        """Its second answer comes too late."""

        asked = 0

        def retrieve(self, query: str, k: int) -> Any:
            self.asked += 1
            return hang(fresh()) if self.asked % 2 == 0 else [replace(hit, document=alone(hit)) for hit in fresh()[:k]]

    def alone(hit: Hit) -> Document:
        return replace(hit.document, metadata={"source": "one"})

    made = guarded(Slow(), [SourceQuota(1)], deadline_s=DEADLINE_S, on_deadline="degrade")
    for asked in both(made):
        result = asked()
        assert len(result) == 1
        assert result.degraded == ("fewer candidates were judged than asked for: the deadline passed",)
        assert len(result.verdicts) == len(result.candidates) == 6
    refused(guarded(Slow(), [SourceQuota(1)], deadline_s=DEADLINE_S), DeadlineExceededError)


def test_a_guard_of_given_hits_degrades_alike() -> None:
    guard = Guard([SourceQuota(1), Own(hang)], GuardPolicy(deadline_s=DEADLINE_S, on_deadline="degrade"))
    assert guard(QUERY, fresh(), 3).degraded == asyncio.run(guard.acall(QUERY, fresh(), 3)).degraded != ()
    with pytest.raises(ValueError, match="on_deadline"):
        GuardPolicy(on_deadline="ignore")  # type: ignore[arg-type]
