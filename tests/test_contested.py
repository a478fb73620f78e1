from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragguard.defenses import BaseDefense, Judgement
from ragguard.retriever import GuardedRetriever, GuardPolicy
from ragguard.retriever.contested import contests
from ragguard.types import Document, Hit

SEASONS = "how many seasons has the show"
FOUR, FIVE = "The show has 4 seasons.", "The show ran for five seasons."
RELEASED = "when was the phone released"


def hits(*said: str, sources: str = "abcdefgh") -> list[Hit]:
    """Documents d0, d1, ... of sources a, b, ..., best first."""
    return [Hit(Document(f"d{i}", text, {"source": sources[i]}), 1.0 - i / 100) for i, text in enumerate(said)]


def sides(query: str, found: Sequence[Hit]) -> list[tuple[str, ...]]:
    return [side.sources for contest in contests(query, found) for side in contest.sides]


def test_a_contest_names_kind_sides_places_and_says_it_to_people() -> None:
    texts = ("Critics liked it. The show ran for five seasons.", FOUR, "All 4 seasons of the show.")
    (contest,) = contests(SEASONS, hits(*texts))
    assert contest.kind == "number"
    assert [(side.answer, side.document_ids, side.sources) for side in contest.sides] == [
        ("4", ("d1", "d2"), ("b", "c")),
        ("five", ("d0",), ("a",)),
    ]
    for side in contest.sides:
        for name, span in zip(side.document_ids, side.spans, strict=True):
            assert texts[int(name[1])][span.start : span.end] in ("4", "five")
    assert contest.statement == (
        "Sources give different answers (number): '4' by 'b', 'c'; 'five' by 'a'. Which is right is not known."
    )


@pytest.mark.parametrize(
    ("query", "one", "same", "other"),
    [
        ("how many tablets has the epic", "The epic has twelve tablets.", "The epic: 12 tablets.", "The epic: 8 tablets."),
        ("how many tablets has the epic", "The epic has twenty-four tablets.", "The epic: 24 tablets.", "The epic: 20 tablets."),
        ("how many people has lagos", "Lagos has 15 million people.", "Lagos: 15,000,000 people.", "Lagos has 15 people."),
        ("how many feet is a meter", "A meter is 3.28 feet.", "A meter: 3.2808 feet.", "A meter is 5.28 feet."),
        ("how many films in part 4", "Part 4 has 23 films.", "The fourth part: 23 films.", "Part IV has 24 films."),
        ("how long do players wait", "Players wait 24 hours.", "A player waits 24 hours.", "Players are in a 48-hour wait."),
        ("how much is the book", "The book is 12 dollars.", "The book sells for $12.", "The book sells for $15."),
        (RELEASED, "The phone was released on 31st March 2016.", "Phone released Mar. 31, 2016.", "Phone released 2 March 2016."),
        (RELEASED, "The phone was released on May 3, 1984.", "Phone released in 1984.", "In 1985, the phone was released."),
        (RELEASED, "The phone was released on May 3, 1984.", "Phone released in May 1984.", "Phone released in June 1984."),
        ("when is flag day", "Flag Day is June 14.", "Flag Day is 14 June 2019.", "Flag Day is on 15 June."),
        ("what year was it built", "It was built in May 2016.", "It was built on July 1, 2016.", "It was built in June 2017."),
        ("when was the 2016 phone sold", "2016 phone sold May 1.", "Sold: 2016 phone, 1 May.", "2016 phone sold May 2."),
        ("is it legal", "It is legal.", "Yes, it is legal.", "It isn’t legal."),
    ],
)
def test_differing_values_are_contested_and_the_same_in_other_words_are_not(query: str, one: str, same: str, other: str) -> None:
    assert sides(query, hits(one, same, other)) == [("a", "b"), ("c",)]
    assert contests(query, hits(one, same)) == ()


@pytest.mark.parametrize(
    ("query", "real", "decoy"),
    [
        (SEASONS, FOUR, "The show's 2004 season was a success."),
        (SEASONS, FOUR, "The show is in its 3rd season."),
        (SEASONS, FOUR, "Critics liked it.[41] Seasons of the show came and went."),
        (SEASONS, FOUR, "The show ran 45 minutes, all seasons."),
        (SEASONS, FOUR, "The show ran 3-5 seasons."),
        (SEASONS, FOUR, "The show ran four or five seasons."),
        ("how many episodes has season 4", "Season 4 has 23 episodes.", "All of the season 4 episodes are free."),
        ("how many episodes has season 4", "Season 4 has 23 episodes.", "Season 3 has 24 episodes."),
        ("how long is the trip", "The trip is 2 hours long.", "The trip is 30 miles long."),
        (RELEASED, "The phone was released in 2016.", "The phone was released to 5000 shops."),
        (RELEASED, "The phone was released on May 4.", "The released phone may 3 times a day restart."),
        (RELEASED, "The phone was released on May 4.", "The phone was released in 1984."),
        ("when was the 2016 phone released", "The 2016 phone was released May 1, 2015.", "The 2016 phone was released."),
        ("is the show good", "The show is good.", "Is the show not good?"),
        (SEASONS, FOUR, "The show has 4 seasons, not 5 seasons."),
        (SEASONS, FOUR, "The band has five records."),
        (SEASONS, "The show has ſix seasons.", "The show has fİve seasons."),
        (
            "how many episodes has season 4 of the american television drama chicago fire",
            "Season 4 of the American television drama Chicago Fire has 23 episodes.",
            "Season 3 of the American television drama Chicago Fire has 24 episodes.",
        ),
    ],
)
def test_what_is_no_other_answer_contests_nothing(query: str, real: str, decoy: str) -> None:
    assert contests(query, hits(real, decoy)) == ()


@pytest.mark.parametrize(
    "query", ["who made the show", "the show's 4 seasons", "is it 4 or 5 seasons", "", "...", "how many are there"]
)
def test_a_query_that_asks_for_no_such_thing_is_never_contested(query: str) -> None:
    assert contests(query, hits(FOUR, FIVE)) == ()


def test_the_subject_may_be_named_in_the_first_sentence_or_in_the_one_before() -> None:
    query = "how many seasons has the show gilmore girls"
    assert sides(
        query,
        hits("Gilmore Girls is a show. Critics liked it. The show ran for 7 seasons.", "Gilmore Girls, the show, has 8 seasons."),
    )
    assert not sides(
        query,
        hits(
            "Friends is a show. The show ran for 10 seasons. Then came Gilmore Girls.", "Gilmore Girls, the show, has 8 seasons."
        ),
    )


@pytest.mark.parametrize("sources", [("a", "a"), (None, None), ("a", None), ("", "a")])
def test_without_two_known_sources_nothing_is_claimed(sources: tuple[str | None, str | None]) -> None:
    found = [
        Hit(Document(f"d{i}", text, {} if source is None else {"source": source}), 1.0)
        for i, (text, source) in enumerate(zip((FOUR, FIVE), sources, strict=True))
    ]
    assert contests(SEASONS, found) == ()


def test_a_source_that_contradicts_itself_is_no_contest_but_another_one_is() -> None:
    assert contests(SEASONS, hits(FOUR, FIVE, sources="aa")) == ()
    assert contests(SEASONS, hits(FOUR, FIVE, "The show is good.", sources="aab")) == ()
    assert sides(SEASONS, hits(FOUR, FIVE, FIVE, sources="aab")) == [("a", "b"), ("a",)]


class KeepAll(BaseDefense):
    name = "keep-all"

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> list[Judgement]:
        return [Judgement(i, hit.score, "Fine.") for i, hit in enumerate(hits)]


class Fixed:
    def __init__(self, found: list[Hit]) -> None:
        self.found = found

    def retrieve(self, query: str, k: int) -> list[Hit]:
        return self.found[:k]


def test_the_guarded_result_says_so_and_points_into_the_original_text() -> None:
    raw = "The\u200b \u200bshow\r\nran for fi\u00adve seasons of show."
    found = hits(FOUR, raw)
    (contest,) = GuardedRetriever(Fixed(found), [KeepAll()]).retrieve(SEASONS, k=2).contests
    (five,) = [side for side in contest.sides if side.answer == "five"]
    assert raw[five.spans[0].start : five.spans[0].end] == "fi\u00adve"
    assert GuardedRetriever(Fixed(found), [KeepAll()]).retrieve(SEASONS, k=1).contests == ()  # d1 will not be read
    assert GuardedRetriever(Fixed(found), [KeepAll()], GuardPolicy(contests=False)).retrieve(SEASONS, k=2).contests == ()


START = "The show has seasons and was released good. "
HOSTILE = [
    START + "show seasons " + "1 " * 10**6,
    START + "The show has 3 seasons. " * 10**5,
    START + "show released " + "May 5, 2010 " * 10**5,
    START + "a." + " " * 10**6 + "b",
    START + '."""[12]' * 10**5,
    START + "1,000" * 10**5,
    START + "show seasons twenty-" * 10**5,
    START + "1" * 10**6,
    START + "\n" * 10**6,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[len(START) :][:20].strip())
def test_hostile_texts_cost_no_more_than_their_first_characters(text: str) -> None:
    def took(text: str) -> float:
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            for query in (SEASONS, "when was the show released", "is the show good", "how many seasons " + "show " * 10**5):
                contests(query, [Hit(Document(f"d{i}", text, {"source": i}), 1.0) for i in range(100)])
            best = min(best, time.perf_counter() - start)
        return best

    assert took(text) < 2  # twenty wholly hostile hits and four queries; 0.4 s at worst on one core of two


WORDS = (
    "show seasons has 4 five twenty - one ſix fİve ٣ ² $ £5 1,000 million 2016 May 3rd 31 Sept. not n't ? . é hour % released Is"
    " when how many year \0 \ud800"
)
TEXTS = st.lists(st.sampled_from(WORDS.split()) | st.text(max_size=5), max_size=30).map(" ".join)
QUERIES = st.sampled_from(["how many ", "how long ", "when ", "what year ", "is the ", ""]).flatmap(
    lambda asks: TEXTS.map(asks.__add__)
)


@given(QUERIES, st.lists(st.tuples(TEXTS, st.sampled_from(["a", "b", 0, None])), max_size=6))
def test_any_text_is_survived_and_every_contest_is_well_formed(query: str, said: list[tuple[str, str | int | None]]) -> None:
    found = [Hit(Document(f"d{i}", text, {"source": source}), 1.0) for i, (text, source) in enumerate(said)]
    for contest in contests(query, found):
        assert len(contest.sides) >= 2
        assert len({source for side in contest.sides for source in side.sources}) >= 2
        for side in contest.sides:
            for name, span in zip(side.document_ids, side.spans, strict=True):
                assert 0 <= span.start < span.end <= len(said[int(name[1])][0])


@given(TEXTS, TEXTS, QUERIES)
def test_the_order_of_two_hits_does_not_matter(one: str, other: str, query: str) -> None:
    assert bool(contests(query, hits(one, other))) == bool(contests(query, hits(other, one)))
