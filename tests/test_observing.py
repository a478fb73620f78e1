"""Observers are told everything and change nothing."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ragguard.defenses import BaseDefense, Judgement
from ragguard.errors import DeadlineExceededError, DefenseError, InvalidInputError, RAGGuardError
from ragguard.retriever import Decision, Guard, GuardedRetriever, GuardPolicy, Observers
from ragguard.testing import DOCUMENTS, QUERY
from ragguard.types import Hit

HITS = [Hit(document, 1 - place / 100) for place, document in enumerate(DOCUMENTS)]
WHO: ContextVar[str] = ContextVar("who", default="nobody")


class Doing(BaseDefense):
    """Does something, then lets everything pass."""

    name = "doing"

    def __init__(self, work: Callable[[], object] = lambda: None) -> None:
        self.work = work

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
        self.work()
        return [Judgement(i, hit.score, "Fine.") for i, hit in enumerate(hits)]


class Searching:
    def retrieve(self, query: str, k: int) -> list[Hit]:
        return HITS[:k]

    async def aretrieve(self, query: str, k: int) -> list[Hit]:
        return HITS[:k]


def boom(*_: object) -> NoReturn:
    raise ZeroDivisionError("boom")


def leave(_: Decision) -> NoReturn:
    raise SystemExit("leaving")


def observed(observer: Callable[[Decision], object], defense: BaseDefense | None = None, **policy: Any) -> GuardedRetriever:
    return GuardedRetriever(Searching(), [defense or Doing()], GuardPolicy(**policy), observers=Observers([observer]))


def told(guard: Callable[[Observers], object]) -> list[Decision]:
    seen: list[Decision] = []
    observers = Observers([seen.append])
    guard(observers)
    assert observers.flush()
    assert observers.lost == observers.failed == 0
    return seen


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
def test_a_decision_holds_the_answer_and_what_took_how_long(sync: bool) -> None:
    def ask(observers: Observers) -> None:
        guarded = GuardedRetriever(Searching(), [Doing(lambda: time.sleep(0.05))], observers=observers)
        before = time.time()
        results.append(guarded.retrieve(QUERY, 2) if sync else asyncio.run(guarded.aretrieve(QUERY, 2)))
        assert before <= time.time()

    results: list[object] = []
    (one,) = told(ask)
    assert one.result is results[0]
    assert (one.asked, one.k, one.number, one.outcome, one.error) == (QUERY, 2, 1, "answered", None)
    assert [stage.name for stage in one.stages] == ["search", "doing"]
    search, doing = one.stages
    assert doing.seconds >= 0.05
    assert 0 <= search.start <= search.start + search.seconds <= doing.start
    assert doing.start + doing.seconds <= one.seconds
    assert abs(one.started + one.seconds - time.time()) < 30


def test_errors_are_decisions_too() -> None:
    def ask(observers: Observers) -> None:
        with pytest.raises(DefenseError):
            GuardedRetriever(Searching(), [Doing(boom)], observers=observers).retrieve(QUERY, 2)
        with pytest.raises(DeadlineExceededError):
            GuardedRetriever(
                Searching(), [Doing(lambda: time.sleep(1))], GuardPolicy(deadline_s=0.05), observers=observers
            ).retrieve(QUERY, 2)
        open_guard = Guard([Doing(boom)], GuardPolicy(fail_open=True), observers=observers)
        open_guard(QUERY, HITS, 2)
        asyncio.run(open_guard.acall(QUERY, HITS, 2))

    found = told(ask)
    assert [one.outcome for one in found] == ["DefenseError", "DeadlineExceededError", "degraded", "degraded"]
    assert [one.number for one in found] == [1, 2, 3, 4]
    assert isinstance(found[0].error, DefenseError)
    assert [one.name for one in found[0].stages] == ["search", "doing"]  # it took its time before it failed
    assert found[0].result is None


def test_a_cancelled_caller_is_told_of() -> None:
    class Slow(Searching):
        async def aretrieve(self, query: str, k: int) -> list[Hit]:
            await asyncio.sleep(30)
            return HITS

    async def cancelled(observers: Observers) -> None:
        task = asyncio.ensure_future(GuardedRetriever(Slow(), [Doing()], observers=observers).aretrieve(QUERY, 2))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    (one,) = told(lambda observers: asyncio.run(cancelled(observers)))
    assert one.outcome == "CancelledError"


@pytest.mark.parametrize(
    "observer", [boom, leave, lambda _: time.sleep(60), lambda: None], ids=["raises", "exits", "hangs", "odd"]
)
def test_no_observer_changes_delays_or_prevents_an_answer(observer: Any, caplog: pytest.LogCaptureFixture) -> None:
    expected = GuardedRetriever(Searching(), [Doing()]).retrieve(QUERY, 2)
    seen: list[Decision] = []
    observers = Observers([observer, seen.append], waiting=5)
    guarded = GuardedRetriever(Searching(), [Doing()], observers=observers)
    start = time.monotonic()
    with caplog.at_level(logging.WARNING, "ragguard"):
        for _ in range(20):
            assert guarded.retrieve(QUERY, 2) == expected
            time.sleep(0.002)
    assert time.monotonic() - start < 10
    observers.flush(0.5)
    assert len(seen) + observers.lost + observers.failed >= 20
    assert seen
    warnings = [record.message for record in caplog.records]
    assert len(warnings) == len(set(warnings)) <= 4  # each said once for each observer, not twenty times
    assert observers.lost + observers.failed > 0


def test_what_is_lost_leaves_a_gap_in_the_numbers() -> None:
    go = threading.Event()
    seen: list[int] = []

    def slow(decision: Decision) -> None:
        go.wait(10)
        seen.append(decision.number)

    observers = Observers([slow], waiting=2)
    guarded = GuardedRetriever(Searching(), [Doing()], observers=observers)
    for _ in range(10):
        guarded.retrieve(QUERY, 2)
    go.set()
    assert observers.flush()
    guarded.retrieve(QUERY, 2)
    assert observers.flush()
    assert seen[-1] == 11
    assert len(seen) + observers.lost == 11
    assert observers.lost >= 7


def test_an_observer_runs_in_the_context_of_the_caller() -> None:
    seen: list[str] = []
    guarded = observed(lambda _: seen.append(WHO.get()))
    for who in ("ada", "grace"):
        token = WHO.set(who)
        guarded.retrieve(QUERY, 2)
        WHO.reset(token)
    assert guarded.observers is not None
    assert guarded.observers.flush()
    assert seen == ["ada", "grace"]


def test_many_threads_are_told_of_once_each_in_the_order_of_their_numbers() -> None:
    def ask(observers: Observers) -> None:
        guarded = GuardedRetriever(Searching(), [Doing()], observers=observers)
        threads = [threading.Thread(target=lambda: [guarded.retrieve(QUERY, 2) for _ in range(25)]) for _ in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        assert [one.number for one in told(ask)] == [*range(1, 201)]
    finally:
        sys.setswitchinterval(usual)


def test_an_observer_that_cannot_even_be_named_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class UnspeakableError(Exception):
        __str__ = __repr__ = boom

    class Odd:
        __repr__ = boom

        def __call__(self, _: Decision) -> NoReturn:
            go.wait(10)
            raise UnspeakableError

    go = threading.Event()
    observers = Observers([Odd()], waiting=3)
    guarded = GuardedRetriever(Searching(), [Doing()], observers=observers)
    for _ in range(6):
        assert guarded.retrieve(QUERY, 2).kept
    go.set()
    assert observers.flush()
    assert observers.failed + observers.lost == 6
    assert min(observers.failed, observers.lost) >= 2  # it went on after the first
    assert [one.message.split("Odd ")[1].split()[0] for one in caplog.records] == ["is", "failed:"]


def test_a_flush_waits_for_what_was_told_before_it_only() -> None:
    observers = Observers([lambda _: time.sleep(0.02)])
    guarded = GuardedRetriever(Searching(), [Doing()], observers=observers)
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.01):
            guarded.retrieve(QUERY, 2)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.2)
    try:
        assert observers.flush(5)
    finally:
        ended.set()
        asking.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_process_has_observers_of_its_own() -> None:
    seen: list[int] = []
    observers = Observers([lambda decision: seen.append(decision.number)])
    guarded = GuardedRetriever(Searching(), [Doing()], observers=observers)
    guarded.retrieve(QUERY, 2)
    assert observers.flush()
    child = os.fork()
    if child == 0:
        try:
            guarded.retrieve(QUERY, 2)
            ok = observers.flush() and seen == [1, 1]  # counted anew, in a thread of its own
        except BaseException:
            ok = False
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    guarded.retrieve(QUERY, 2)
    assert observers.flush()
    assert seen == [1, 2]


def test_what_was_told_is_observed_even_if_the_guard_is_gone_and_the_program_ends(tmp_path: Path) -> None:
    program = f"""
import time
from ragguard.audit import AuditLog
from ragguard.retriever import Observers
from ragguard.retriever import Guard
from ragguard.defenses import SourceQuota
from ragguard.types import Document, Hit

def slow(decision):
    time.sleep(0.1)

def main():
    guard = Guard([SourceQuota(1)], observers=Observers([slow, AuditLog({str(tmp_path / "audit.jsonl")!r})]))
    for _ in range(5):
        guard("tunnel", [Hit(Document("a", "The tunnel."), 1.0)], 1)

main()
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert len((tmp_path / "audit.jsonl").read_text().splitlines()) == 5


def test_threads_end_with_their_observers() -> None:
    def running() -> int:
        return sum(one.name == "ragguard-observer" for one in threading.enumerate())

    before = running()
    told(lambda observers: GuardedRetriever(Searching(), [Doing()], observers=observers).retrieve(QUERY, 2))
    gc.collect()
    end = time.monotonic() + 10
    while running() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert running() <= before  # those of other tests may have ended, too


@pytest.mark.parametrize("wrong", [[], ["x"], "x", None, [None]])
def test_observers_must_be_callable(wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match="at least one callable"):
        Observers(wrong)


def test_a_bare_observer_is_refused_where_observers_are_wanted() -> None:
    with pytest.raises(InvalidInputError, match="Observers"):
        GuardedRetriever(Searching(), [Doing()], observers=[print])  # type: ignore[arg-type]
    with pytest.raises(RAGGuardError, match="waiting"):
        Observers([print], waiting=0)
