"""A guarded retriever asked either way, blocking and not: depths, errors, and what is answered when time runs out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ragguard.defenses import BaseDefense, Judgement, SourceQuota
from ragguard.errors import DeadlineExceededError, InvalidInputError, RetrieverError
from ragguard.retriever import Guard, GuardedRetriever, GuardPolicy
from ragguard.types import Document, GuardedResult, Hit

SHORT = "fewer candidates were judged than asked for: the deadline passed"


class Fixed:
    """A retriever of a fixed ranking that remembers what it was asked."""

    def __init__(self, count: int = 100, error: Exception | None = None) -> None:
        self.hits = [Hit(Document(f"d{i}", f"text number {i} of the shelf"), 1.0) for i in range(count)]
        self.error = error
        self.asked: list[tuple[str, int]] = []

    def retrieve(self, query: str, k: int) -> list[Hit]:
        self.asked.append((query, k))
        if self.error:
            raise self.error
        return self.hits[:k]


class Awaited(Fixed):
    async def aretrieve(self, query: str, k: int) -> list[Hit]:
        return super().retrieve(query, k)

    def retrieve(self, query: str, k: int) -> list[Hit]:
        raise AssertionError("the blocking form must not be used")


class DropFirst(BaseDefense):
    """Drops documents by number; `slow` says how long its n-th call takes, in seconds."""

    def __init__(self, count: int = 0, name: str = "drop-first", slow: Callable[[int], float] = lambda _: 0) -> None:
        self.count, self.name, self.slow = count, name, slow
        self.calls = 0

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
        self.calls += 1
        time.sleep(self.slow(self.calls))
        return [Judgement(i, hit.score, "?", int(hit.document.id[1:]) < self.count) for i, hit in enumerate(hits)]


class Broken(DropFirst):
    def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
        raise ZeroDivisionError("boom")


def ways(kind: str) -> tuple[type[Fixed], Callable[..., GuardedResult]]:
    """A retriever, and how a guard around it is asked."""

    def ask(guarded: GuardedRetriever, *asked: Any) -> GuardedResult:
        return guarded.retrieve(*asked) if kind == "blocking" else asyncio.run(guarded.aretrieve(*asked))

    return (Awaited if kind == "awaited" else Fixed), ask


WAYS = pytest.mark.parametrize("way", ["blocking", "in a thread", "awaited"])


@WAYS
@pytest.mark.parametrize(
    ("count", "dropped", "policy", "depths"),
    [
        (100, 20, {}, [8, 16, 32]),
        (100, 100, {}, [8, 16, 32, 64]),
        (10, 100, {}, [8, 16]),
        (100, 100, {"overfetch": 3, "max_overfetch": 4}, [12, 16]),
        (100, 4, {}, [8]),
        (100, 0, {"overfetch": 1}, [4]),
    ],
)
def test_it_asks_for_more_until_it_has_enough(way: str, count: int, dropped: int, policy: Any, depths: list[int]) -> None:
    made, ask = ways(way)
    retriever = made(count)
    result = ask(GuardedRetriever(retriever, [DropFirst(dropped)], GuardPolicy(**policy)), "a\u200bsked", 4)
    assert retriever.asked == [("asked", depth) for depth in depths]
    assert [hit.document.id for hit in result] == [f"d{i}" for i in range(count)][dropped : dropped + 4][: len(result)]
    assert len(result) == max(min(count, depths[-1]) - dropped, 0) or len(result) == 4
    assert (result.query, result.k, len(result.candidates)) == ("asked", 4, min(count, depths[-1]))


@WAYS
def test_ten_results_are_the_default(way: str) -> None:
    made, ask = ways(way)
    assert len(ask(GuardedRetriever(made(), [DropFirst()]), "query")) == 10
    guard = Guard([DropFirst()])
    hits = Fixed(30).hits
    assert len(guard("query", hits)) == len(asyncio.run(guard.acall("query", hits))) == 10


@WAYS
def test_errors_of_the_retriever_keep_their_kind(way: str) -> None:
    made, ask = ways(way)
    with pytest.raises(RetrieverError, match="store is down"):
        ask(GuardedRetriever(made(error=ConnectionError("store is down")), [DropFirst()]), "query", 3)
    with pytest.raises(InvalidInputError, match="its own"):
        ask(GuardedRetriever(made(error=InvalidInputError("its own")), [DropFirst()]), "query", 3)


@WAYS
def test_what_defenses_say_is_handed_on(way: str) -> None:
    made, ask = ways(way)
    policy = GuardPolicy(fail_open=True)
    result = ask(GuardedRetriever(made(), [Broken(name="broken"), DropFirst(1), SourceQuota()], policy), "query", 3)
    assert [hit.document.id for hit in result] == ["d1", "d2", "d3"]
    assert result.degraded == ("broken did not run: boom",)
    assert [one.defense for one in result.certificates] == ["SourceQuota(limit=1)"]
    assert [one.defense for one in result.verdicts_on("d1")] == ["drop-first", "SourceQuota(limit=1)"]
    assert result.contests == ()
    assert result.query_findings == ()


@WAYS
def test_when_time_runs_out_the_answer_is_what_was_done_by_then(way: str) -> None:
    made, ask = ways(way)
    defenses = [DropFirst(2), DropFirst(3, "slow", lambda _: 0.5), DropFirst(4, "after")]
    policy: dict[str, Any] = {"deadline_s": 0.15, "fail_open": True}
    result = ask(
        GuardedRetriever(made(), [Broken(name="broken"), *defenses], GuardPolicy(on_deadline="degrade", **policy)), "q", 3
    )
    assert [hit.document.id for hit in result] == ["d2", "d3", "d4"]
    assert [hit.document.id for hit in result.removed] == ["d0", "d1"]
    assert result.degraded == (
        "broken did not run: boom",
        "slow did not run: the deadline passed",
        "after did not run: the deadline passed",
    )
    with pytest.raises(DeadlineExceededError, match=r"within 0\.15 s"):
        ask(GuardedRetriever(made(), defenses, GuardPolicy(**policy)), "q", 3)


@WAYS
def test_what_all_defenses_let_pass_of_too_few_is_not_replaced_by_what_some_let_pass_of_more(way: str) -> None:
    made, ask = ways(way)

    def second(call: int) -> float:
        return 0.5 if call == 2 else 0

    for mode in ("degrade", "raise"):
        defenses = [Broken(name="broken"), DropFirst(5), DropFirst(0, "slow", second)]
        guarded = GuardedRetriever(
            made(),
            defenses,
            GuardPolicy(deadline_s=0.15, on_deadline=mode, fail_open=True),
        )
        if mode == "raise":
            with pytest.raises(DeadlineExceededError):
                ask(guarded, "q", 3)
        else:
            result = ask(guarded, "q", 3)
            assert [hit.document.id for hit in result] == ["d5"]
            assert result.degraded == ("broken did not run: boom", SHORT)


def test_a_defense_may_hand_back_copies_that_are_equal() -> None:
    class Copies(DropFirst):
        def __call__(self, query: str, hits: Sequence[Hit], k: int) -> GuardedResult:
            result = super().__call__(query, hits, k)
            copied = [Hit(replace(hit.document), hit.score) for hit in result.kept]
            return replace(result, kept=tuple(copied))

    assert len(GuardedRetriever(Fixed(3), [Copies()]).retrieve("query", 3)) == 3
