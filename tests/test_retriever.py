from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from ragguard.defenses import BaseDefense, Judgement, RAGMask, RAGPart
from ragguard.errors import DeadlineExceededError, DefenseError, EncoderError, InvalidInputError, RetrieverError
from ragguard.index import DenseIndex
from ragguard.retriever import Guard, GuardedRetriever, GuardPolicy
from ragguard.testing import DOCUMENTS, QUERY, WordHashEncoder
from ragguard.types import Document, GuardedResult, Hit, Span, Vectors, Verdict


class Fixed:
    """A retriever of a fixed ranking that counts what it is asked for."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.hits = [Hit(document, 1 - i / 1000) for i, document in enumerate(documents)]
        self.depths: list[int] = []

    def retrieve(self, query: str, k: int) -> list[Hit]:
        self.depths.append(k)
        return self.hits[:k]


class DropIds(BaseDefense):
    """Drops given ids."""

    name = "drop-ids"

    def __init__(self, *ids: str) -> None:
        self.ids = ids

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
        return [
            Judgement(i, hit.score, "Listed." if hit.document.id in self.ids else "Fine.", hit.document.id in self.ids)
            for i, hit in enumerate(hits)
        ]


class Reverse(DropIds):
    """Turns the ranking around."""

    name = "reverse"

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
        return [Judgement(i, 0.0, "Turned.") for i in reversed(range(len(hits)))]


class Broken(DropIds):
    name = "broken"

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
        raise ZeroDivisionError("boom")


class Sleepy(DropIds):
    name = "sleepy"

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
        time.sleep(5)
        return super().judge(query, hits, k)


def many(n: int) -> list[Document]:
    return [Document(f"d{i}", f"text number {i} of the shelf") for i in range(n)]


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.document.id for hit in hits]


def test_results_report_what_was_removed_and_why() -> None:
    result = GuardedRetriever(Fixed(many(8)), [DropIds("d0", "d2")], GuardPolicy(overfetch=4)).retrieve(QUERY, 2)
    assert ids(result) == ["d1", "d3"]
    assert ids(result.reserve) == ["d4", "d5", "d6", "d7"]
    assert ids(result.removed) == ["d0", "d2"]
    assert ids(result.lost) == ["d0"]
    assert ids(result.candidates) == [f"d{i}" for i in range(8)]
    (verdict,) = result.verdicts_on("d0")
    assert (verdict.action, verdict.reason, verdict.rank_before, verdict.rank_after) == ("drop", "Listed.", 1, None)
    assert not result.degraded


def test_defenses_apply_in_turn_to_what_the_one_before_let_pass() -> None:
    result = GuardedRetriever(Fixed(many(4)), [DropIds("d3"), Reverse()], GuardPolicy(overfetch=4)).retrieve(QUERY, 1)
    assert ids(result) == ["d2"]
    assert [verdict.defense for verdict in result.verdicts_on("d2")] == ["drop-ids", "reverse"]
    assert [verdict.action for verdict in result.verdicts_on("d0")] == ["keep", "demote"]
    assert [verdict.defense for verdict in result.verdicts_on("d3")] == ["drop-ids"]


def test_fills_up_with_the_next_candidates() -> None:
    retriever = Fixed(many(100))
    result = GuardedRetriever(retriever, [DropIds(*(f"d{i}" for i in range(20)))]).retrieve(QUERY, 4)
    assert ids(result) == ["d20", "d21", "d22", "d23"]
    assert retriever.depths == [8, 16, 32]


def test_stops_asking_at_the_end_of_the_corpus_and_at_the_limit() -> None:
    everything = DropIds(*(f"d{i}" for i in range(500)))
    small = Fixed(many(10))
    assert len(GuardedRetriever(small, [everything]).retrieve(QUERY, 4)) == 0
    assert small.depths == [8, 16]
    large = Fixed(many(500))
    assert len(GuardedRetriever(large, [everything], GuardPolicy(max_overfetch=16)).retrieve(QUERY, 4)) == 0
    assert large.depths == [8, 16, 32, 64]


def test_repeated_hits_do_not_look_like_the_end_of_the_corpus() -> None:
    retriever = Fixed([document for document in many(100) for _ in range(2)])
    result = GuardedRetriever(retriever, [DropIds(*(f"d{i}" for i in range(10)))]).retrieve(QUERY, 5)
    assert ids(result) == ["d10", "d11", "d12", "d13", "d14"]


def test_no_defenses_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match="at least one defense"):
        GuardedRetriever(Fixed(many(3)), [])


def test_what_is_not_a_retriever_or_a_defense_is_named() -> None:
    with pytest.raises(InvalidInputError, match="str has no method retrieve"):
        GuardedRetriever("index", [DropIds()])  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="must be a list, not DropIds"):
        GuardedRetriever(Fixed([]), DropIds())  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="is not a defense"):
        GuardedRetriever(Fixed([]), ["RAGPart"])  # type: ignore[list-item]


def test_fails_closed() -> None:
    with pytest.raises(DefenseError, match="broken.*boom"):
        GuardedRetriever(Fixed(many(3)), [DropIds("d0"), Broken()]).retrieve(QUERY, 2)


def test_fails_open_only_when_told_and_says_so() -> None:
    guarded = GuardedRetriever(Fixed(many(3)), [DropIds("d0"), Broken()], GuardPolicy(fail_open=True))
    result = guarded.retrieve(QUERY, 2)
    assert ids(result) == ["d1", "d2"]
    assert result.degraded == ("broken did not run: boom",)


@pytest.mark.parametrize("change", ["lose", "add", "edit", "relabel", "invent", "silent"])
def test_a_defense_that_does_not_account_for_every_candidate_fails(change: str) -> None:
    class Careless:
        name = "careless"

        def __call__(self, query: str, hits: Sequence[Hit], k: int) -> GuardedResult:
            kept = {
                "lose": hits[1:],
                "add": [*hits, Hit(Document("smuggled", "in"), 1.0)],
                "edit": [Hit(Document(hits[0].document.id, "edited"), 1.0), *hits[1:]],
                "relabel": [Hit(Document("d0", hits[0].document.text, {"source": "trusted"}), 1.0), *hits[1:]],
                "invent": hits,
                "silent": hits,
            }[change]
            named = (
                [] if change == "silent" else [*(hit.document.id for hit in hits), *(["nobody"] if change == "invent" else [])]
            )
            verdicts = tuple(Verdict(name, "careless", "keep", "?", 1, 1, spans=(Span(0, 1),)) for name in named)
            return GuardedResult(query, k, tuple(hits), tuple(kept), verdicts=verdicts)

    with pytest.raises(DefenseError, match="careless"):
        GuardedRetriever(Fixed(many(3)), [Careless()]).retrieve(QUERY, 2)


def test_a_defense_must_order_by_its_scores() -> None:
    class Ascending(DropIds):
        name = "ascending"

        def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
            return [Judgement(i, float(i), "?") for i in range(len(hits))]

    with pytest.raises(DefenseError, match="ascending must order"):
        Ascending()(QUERY, Fixed(many(3)).hits, 2)


def test_a_retriever_that_raises_or_returns_something_else() -> None:
    class Raising:
        def retrieve(self, query: str, k: int) -> list[Hit]:
            raise ConnectionError("store is down")

    class Strings:
        def retrieve(self, query: str, k: int) -> list[str]:
            return ["not a hit"]

    with pytest.raises(RetrieverError, match="store is down"):
        GuardedRetriever(Raising(), [DropIds()]).retrieve(QUERY, 2)
    with pytest.raises(RetrieverError, match="sequence of Hit"):
        GuardedRetriever(Strings(), [DropIds()]).retrieve(QUERY, 2)  # type: ignore[arg-type]


def test_hits_that_do_not_come_best_first_are_named() -> None:
    hits = [Hit(DOCUMENTS[0], 0.2), Hit(DOCUMENTS[1], 0.7)]
    with pytest.raises(RetrieverError, match=f"'{DOCUMENTS[1].id}' scores 0.7 after '{DOCUMENTS[0].id}' with 0.2"):
        Guard([DropIds()])(QUERY, hits, 1)


def test_a_repeated_document_counts_once_and_two_texts_under_one_id_never() -> None:
    twice = [Document("a", "same"), Document("b", "other"), Document("a", "same")]
    assert ids(GuardedRetriever(Fixed(twice), [DropIds()]).retrieve(QUERY, 3)) == ["a", "b"]
    with pytest.raises(RetrieverError, match="'a'"):
        GuardedRetriever(Fixed([Document("a", "one"), Document("a", "two")]), [DropIds()]).retrieve(QUERY, 3)


def test_returns_the_canonical_text_and_spans_of_the_original() -> None:
    class Marks(DropIds):
        name = "marks"

        def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
            start = hits[0].document.text.index("bad")
            return [Judgement(0, 1.0, "Marked.", spans=(Span(start, start + 3),))]

    original = "go\u200bod\r\nba\u00add end"
    result = GuardedRetriever(Fixed([Document("a", original)]), [Marks()]).retrieve(QUERY, 1)
    assert result[0].document.text == "good\nbad end"
    assert result.candidates[0].document.text == original
    (span,) = result.verdicts[0].spans
    assert original[span.start : span.end] == "ba\u00add"


def test_deadline_sync_and_async() -> None:
    guarded = GuardedRetriever(Fixed(many(3)), [Sleepy()], GuardPolicy(deadline_s=0.2))
    start = time.monotonic()
    with pytest.raises(DeadlineExceededError, match="0.2 s"):
        guarded.retrieve(QUERY, 2)
    with pytest.raises(DeadlineExceededError):
        asyncio.run(guarded.aretrieve(QUERY, 2))
    assert time.monotonic() - start < 2
    quick = GuardedRetriever(Fixed(many(3)), [DropIds()], GuardPolicy(deadline_s=5))
    assert quick.retrieve(QUERY, 2) == asyncio.run(quick.aretrieve(QUERY, 2))


def test_an_encoder_that_hangs_past_the_deadline() -> None:
    class Hanging(WordHashEncoder):
        def encode_document(self, texts: Sequence[str]) -> Vectors:
            time.sleep(5)
            return super().encode_document(texts)

    guarded = GuardedRetriever(Fixed(many(3)), [RAGPart(Hanging())], GuardPolicy(deadline_s=0.2))
    with pytest.raises(DeadlineExceededError):
        guarded.retrieve(QUERY, 2)


def test_errors_keep_their_kind_through_the_deadline_thread() -> None:
    class Late:
        def retrieve(self, query: str, k: int) -> list[Hit]:
            raise TimeoutError("the store's own timeout")

    with pytest.raises(RetrieverError, match="own timeout"):
        GuardedRetriever(Late(), [DropIds()], GuardPolicy(deadline_s=5)).retrieve(QUERY, 2)


def test_the_event_loop_is_never_blocked() -> None:
    async def main() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticker = asyncio.ensure_future(tick())
        guarded = GuardedRetriever(Fixed(many(3)), [Sleepy()], GuardPolicy(deadline_s=0.5))
        with pytest.raises(DeadlineExceededError):
            await guarded.aretrieve(QUERY, 2)
        ticker.cancel()
        return ticks

    assert asyncio.run(main()) > 20


def test_an_async_retriever_is_awaited() -> None:
    class Async(Fixed):
        async def aretrieve(self, query: str, k: int) -> list[Hit]:
            await asyncio.sleep(0)
            return [*self.hits[:k]]

        def retrieve(self, query: str, k: int) -> list[Hit]:
            raise AssertionError("the blocking form must not be used")

    result = asyncio.run(GuardedRetriever(Async(many(30)), [DropIds("d0")]).aretrieve(QUERY, 3))
    assert ids(result) == ["d1", "d2", "d3"]


def test_a_cancelled_caller_cancels_its_work() -> None:
    cancelled = []

    class Async(Fixed):
        async def aretrieve(self, query: str, k: int) -> list[Hit]:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise
            return []

    async def main() -> None:
        task = asyncio.ensure_future(GuardedRetriever(Async([]), [DropIds()]).aretrieve(QUERY, 3))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.05)

    asyncio.run(main())
    assert cancelled == [True]


def test_many_threads_and_tasks_get_their_own_answers() -> None:
    encoder = WordHashEncoder()
    index = DenseIndex(encoder, backend="faiss")
    index.add(DOCUMENTS)
    guarded = GuardedRetriever(index, [RAGPart(encoder, k=2), RAGMask(encoder, m=4)])
    queries = [f"{QUERY} {word}" for word in ("trains", "copper", "bees", "guild")] * 8
    alone = [guarded.retrieve(query, 3) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda q: guarded.retrieve(q, 3), queries)) == alone

    async def together() -> list[GuardedResult]:
        return list(await asyncio.gather(*(guarded.aretrieve(query, 3) for query in queries)))

    assert asyncio.run(together()) == alone


def test_an_encoder_error_is_not_hidden() -> None:
    class Short(WordHashEncoder):
        def encode_document(self, texts: Sequence[str]) -> Vectors:
            return super().encode_document(texts)[:-1]

    with pytest.raises(EncoderError, match="returned shape"):
        GuardedRetriever(Fixed(many(3)), [RAGPart(Short())]).retrieve(QUERY, 2)


def test_a_guard_judges_hits_that_are_there_already() -> None:
    hits = Fixed(many(6)).hits
    guard = Guard([DropIds("d0", "d1", "d2", "d3", "d4")])
    result = guard(QUERY, hits, 3)
    assert ids(result) == ["d5"]  # what was given is all there is
    assert len(result.verdicts) == 6
    assert asyncio.run(guard.acall(QUERY, hits, 3)) == result
    assert guard(QUERY, []).kept == ()
    with pytest.raises(RetrieverError):
        guard(QUERY, ["text"])  # type: ignore[list-item]
    for wrong in ([], [1]):
        with pytest.raises(InvalidInputError):
            Guard(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="policy"):
        Guard([DropIds()], {"overfetch": 3})  # type: ignore[arg-type]
    with pytest.raises(DeadlineExceededError):
        Guard([Sleepy()], GuardPolicy(deadline_s=0.05))(QUERY, hits, 3)


def test_a_guard_over_a_retriever_asks_it_once_and_does_not_wait_for_it() -> None:
    class Counted(Fixed):
        asked, takes_s = 0, 0.0

        def retrieve(self, query: str, k: int) -> list[Hit]:
            self.asked += 1
            time.sleep(self.takes_s)
            return self.hits

    counted = Counted(many(6))
    assert ids(Guard([DropIds("d0", "d1", "d2", "d3", "d4")]).over(counted).retrieve(QUERY, 3)) == ["d5"]
    assert counted.asked == 1
    counted.takes_s = 0.5
    with pytest.raises(DeadlineExceededError):
        Guard([DropIds()], GuardPolicy(deadline_s=0.05)).over(counted).retrieve(QUERY, 3)
