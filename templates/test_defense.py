from __future__ import annotations

from ragguard.protocols import Defense
from ragguard.testing import DOCUMENTS, QUERY, DefenseContract
from ragguard.types import Document, Hit
from templates.defense import FirstOfEachOpening


class TestFirstOfEachOpening(DefenseContract):
    def make_defense(self) -> Defense:
        return FirstOfEachOpening()


def test_a_second_copy_is_dropped() -> None:
    copy = Document("copy", f"{DOCUMENTS[0].text} And more.")
    result = FirstOfEachOpening()(QUERY, [Hit(DOCUMENTS[0], 0.9), Hit(copy, 0.8), Hit(DOCUMENTS[1], 0.7)], 2)
    assert [hit.document.id for hit in result.removed] == ["copy"]
    assert [hit.document.id for hit in result] == ["doc-0", "doc-1"]


def test_an_attacker_who_knows_it_words_the_opening_anew() -> None:
    copy = Document("copy", f"Notably: {DOCUMENTS[0].text}")
    assert not FirstOfEachOpening()(QUERY, [Hit(DOCUMENTS[0], 0.9), Hit(copy, 0.8)], 2).removed
