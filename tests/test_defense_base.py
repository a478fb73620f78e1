"""What the base class makes of judgements, with a defense that says what it is told."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest

from ragguard.defenses import base
from ragguard.defenses.base import MAX_CHARACTERS, MAX_WORDS, BaseDefense, Judgement, judgeable, prepare, unfit
from ragguard.errors import DefenseError, InvalidInputError
from ragguard.types import Certificate, Document, Hit, Span

HITS = [Hit(Document(f"d{i}", f"text {i}", {"source": f"s{i}"}), 1 - i / 10) for i in range(4)]


class Scripted(BaseDefense):
    name = "Scripted"

    def __init__(self, script: Callable[[Sequence[Hit]], Sequence[Judgement]]) -> None:
        self.script = script
        self.asked: list[tuple[str, list[str], int]] = []
        self.prepared: list[Document] = []

    def judge(self, query: str, hits: Sequence[Hit], k: int) -> Sequence[Judgement]:
        self.asked.append((query, [hit.document.text for hit in hits], k))
        return self.script(hits)

    def prepare(self, documents: Sequence[Document]) -> None:
        self.prepared += documents

    def certificates(self, candidates: int, k: int) -> tuple[Certificate, ...]:
        return (Certificate(self.name, candidates, "", f"k={k}"),)


def in_order(hits: Sequence[Hit]) -> list[Judgement]:
    return [Judgement(i, hit.score, "as it was") for i, hit in enumerate(hits)]


def test_every_candidate_gets_its_place_and_a_verdict() -> None:
    """d3 comes first with a new score, d1 is dropped, d0 loses its place among the two that are kept."""
    span = Span(0, 4)
    judged = [
        Judgement(3, 0.99, "best", signals={"x": 1.0}, suspicion=0.2),
        Judgement(1, 5.0, "bad", drop=True, spans=(span,), suspicion=0.9),
        Judgement(2, 0.8, "good"),
        Judgement(0, 0.5, "worse"),
    ]
    result = Scripted(lambda _: judged)("query", HITS, 2)
    assert (result.query, result.k, result.candidates) == ("query", 2, tuple(HITS))
    assert result.kept == (Hit(HITS[3].document, 0.99), HITS[2])
    assert result.kept[1] is HITS[2]
    assert result.reserve == (Hit(HITS[0].document, 0.5),)
    assert result.removed == (HITS[1],)
    told = [(v.document_id, v.action, v.reason, v.rank_before, v.rank_after, v.suspicion) for v in result.verdicts]
    assert told == [
        ("d0", "demote", "worse", 1, 3, None),
        ("d1", "drop", "bad", 2, None, 0.9),
        ("d2", "keep", "good", 3, 2, None),
        ("d3", "keep", "best", 4, 1, 0.2),
    ]
    assert {v.defense for v in result.verdicts} == {"Scripted"}
    assert (result.verdicts[3].signals, result.verdicts[1].spans) == ({"x": 1.0}, (span,))
    assert result.certificates == (Certificate("Scripted", 4, "", "k=2"),)


@pytest.mark.parametrize(
    ("order", "actions"),
    [
        ([0, 1, 2, 3], ["keep", "keep", "keep", "keep"]),
        ([1, 0, 2, 3], ["keep", "keep", "keep", "keep"]),
        ([1, 2, 3, 0], ["demote", "keep", "keep", "keep"]),
        ([0, 2, 3, 1], ["keep", "demote", "keep", "keep"]),
    ],
)
def test_demoted_is_who_was_among_the_first_k_and_is_not(order: list[int], actions: list[str]) -> None:
    result = Scripted(lambda _: [Judgement(i, -rank, "moved") for rank, i in enumerate(order)])("query", HITS, 2)
    assert [v.action for v in result.verdicts] == actions


def test_what_cannot_be_judged_is_dropped_and_not_shown_to_the_defense() -> None:
    hits = [Hit(Document("blank", " \n"), 2), *HITS[:2], Hit(Document("long", "w " * (MAX_WORDS + 1)), 0.1)]
    defense = Scripted(in_order)
    result = defense("query", hits, 3)
    assert defense.asked == [("query", ["text 0", "text 1"], 3)]
    assert result.kept == tuple(HITS[:2])
    assert result.removed == (hits[0], hits[3])
    blank, first, _, long = result.verdicts
    assert (blank.document_id, blank.defense, blank.action, blank.rank_before, blank.rank_after) == (
        "blank",
        "Scripted",
        "drop",
        1,
        None,
    )
    assert (first.rank_before, first.rank_after) == (2, 1)
    assert "has no words" in blank.reason
    assert f"has {MAX_WORDS + 1} words" in long.reason
    assert result.certificates[0].bound == 2
    only = defense("query", hits[:1], 3)
    assert (only.kept, only.removed, len(defense.asked)) == ((), (hits[0],), 1)


def test_the_defense_sees_the_canonical_text_and_spans_are_of_the_original() -> None:
    original = "to\u200bwn hall"
    defense = Scripted(lambda hits: [Judgement(0, hits[0].score, "marked", spans=(Span(5, 9),))])
    result = defense("query", [Hit(Document("d", original), 1.0)], 1)
    assert defense.asked[0][1] == ["town hall"]
    (span,) = result.verdicts[0].spans
    assert original[span.start : span.end] == "hall"
    assert result.kept[0].document.text == original


@pytest.mark.parametrize(
    ("judged", "wrong"),
    [
        ([], "each of 4 candidates exactly once"),
        ([Judgement(i, 0.0, "x") for i in (0, 1, 2, 2)], "exactly once"),
        ([Judgement(i, 0.0, "x") for i in range(5)], "exactly once"),
        ([Judgement(i, math.nan if i == 2 else 0.0, "x") for i in range(4)], "finite score"),
        ([Judgement(i, math.inf, "x", drop=True) for i in range(4)], "finite score"),
        ([Judgement(i, float(i), "x") for i in range(4)], "order its judgements by score"),
    ],
)
def test_a_defense_that_does_not_judge_properly_is_an_error(judged: list[Judgement], wrong: str) -> None:
    with pytest.raises(DefenseError, match=f"Scripted must .*{wrong}"):
        Scripted(lambda _: judged)("query", HITS, 2)


def test_scores_may_be_equal_and_those_of_dropped_ones_may_not_fall() -> None:
    judged = [Judgement(0, 0.5, "x"), Judgement(1, 0.9, "x", drop=True), Judgement(2, 0.5, "x"), Judgement(3, 0.4, "x")]
    assert [hit.document.id for hit in Scripted(lambda _: judged)("query", HITS, 9).kept] == ["d0", "d2", "d3"]


def test_repeated_candidates_are_named() -> None:
    with pytest.raises(InvalidInputError, match=r"repeated: \['d1'\]"):
        Scripted(in_order)("query", [HITS[0], HITS[1], HITS[1]], 2)


def test_a_defense_prepares_and_certifies_nothing_by_default() -> None:
    class Plain(BaseDefense):
        name = "Plain"
        judge = Scripted.judge

    plain = Plain()
    plain.prepare([HITS[0].document])
    assert plain.certificates(3, 1) == ()


def test_all_defenses_that_can_are_prepared() -> None:
    defenses = [Scripted(in_order), Scripted(in_order)]
    documents = [hit.document for hit in HITS]
    prepare([defenses[0], object(), defenses[1]], documents)  # type: ignore[list-item]
    assert [one.prepared for one in defenses] == [documents, documents]


def test_judgeable_texts_are_canonical() -> None:
    documents = [Document("a", "to\u200bwn"), Document("b", " "), Document("c", "hall")]
    assert judgeable(documents) == ["town", "hall"]
    for wrong in (iter(documents), ["town"], None):
        with pytest.raises(InvalidInputError, match="sequence of Document"):
            judgeable(wrong)  # type: ignore[arg-type]


def test_the_longest_text_that_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unfit("w " * MAX_WORDS) == ""
    assert unfit("w " * MAX_WORDS + "w").startswith(f"The text has {MAX_WORDS + 1} words")
    assert unfit("w" * MAX_CHARACTERS) == ""
    assert unfit("w" * (MAX_CHARACTERS + 1)).startswith(f"The text has {MAX_CHARACTERS + 1} characters")
    assert "no words" in unfit("\n ")
    monkeypatch.setattr(base, "words", lambda _: pytest.fail("words of a short text need no counting"))
    assert unfit("w " * (MAX_WORDS // 2)) == ""
