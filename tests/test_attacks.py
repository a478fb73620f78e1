from __future__ import annotations

from collections.abc import Sequence

import pytest

from ragguard.attacks import TARGET, Budget, Prepared, QueryCopy, Target, ThreatModel
from ragguard.attacks.planted import Place, plant
from ragguard.errors import InvalidInputError
from ragguard.testing import DOCUMENTS
from ragguard.text import fragments

TARGETS = [Target("q1", "who painted the hall"), Target("q2", "when do the trains leave")]
PASSAGES = [d for d in DOCUMENTS if len(d.text.split()) > 5]


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (("front",), "Q? one two three four"),
        (("end",), "one two three four Q?"),
        (("middle",), "one two Q? three four"),
        (("front", "end"), "Q? one two three four Q?"),
        (("spread",), "Q? one two three four"),
    ],
)
def test_plant(places: Sequence[Place], expected: str) -> None:
    assert plant("one two three four", "Q?", places) == expected


def test_spread_deals_the_words_out() -> None:
    assert plant("one two three four", "a b", ("spread",)) == "a one two b three four"
    twice = plant("one two three four", "a b", ("spread", "spread")).split()
    assert (twice.count("a"), twice.count("b"), len(twice)) == (2, 2, 8)


def test_every_fragment_gets_its_copy() -> None:
    text = plant(PASSAGES[0].text, "Q?", ("every-fragment",))
    assert text.count("Q?") == 5
    assert all("Q?" in text[s.start : s.end] for s in fragments(text, 5))


def test_documents_are_tagged_and_within_the_budget() -> None:
    made = QueryCopy(PASSAGES)(TARGETS, Budget(documents=2))
    assert [document.metadata[TARGET] for document in made] == ["q1", "q1", "q2", "q2"]
    assert len({document.id for document in made}) == 4
    assert all(document.metadata["source"] == "attacker/query-copy/0" for document in made)
    assert all(document.metadata["family"] == "A" for document in made)
    assert all(document.text.startswith("who painted the hall") for document in made[:2])


def test_the_same_seed_makes_the_same_documents_whatever_the_other_targets() -> None:
    attack = QueryCopy(PASSAGES, seed=3)
    assert attack(TARGETS, Budget(2)) == attack(TARGETS, Budget(2))
    assert attack(TARGETS[1:], Budget(2)) == attack(TARGETS, Budget(2))[2:]
    assert QueryCopy(PASSAGES, seed=4)(TARGETS, Budget(2)) != attack(TARGETS, Budget(2))


def test_a_budget_that_cannot_be_met_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match="made 7 of 8"):
        QueryCopy(PASSAGES)(TARGETS, Budget(documents=8))
    with pytest.raises(InvalidInputError, match="more than the 3"):
        QueryCopy(PASSAGES)(TARGETS, Budget(documents=1, tokens=3))
    with pytest.raises(InvalidInputError, match="passages"):
        QueryCopy([])


def test_prepared_texts_are_played_back_in_order() -> None:
    attack = Prepared("lie", "B", ThreatModel(knows=("query",)), {"q1": ["first", "second"]})
    assert [d.text for d in attack(TARGETS[:1], Budget(documents=2))] == ["first", "second"]
    with pytest.raises(InvalidInputError, match="'q2'"):
        attack(TARGETS, Budget(documents=1))
