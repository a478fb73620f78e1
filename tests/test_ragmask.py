from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ragguard.attacks.planted import Place, plant
from ragguard.defenses import RAGMask
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.errors import InvalidInputError
from ragguard.evidence import WORK, MaskPlan
from ragguard.testing import WordHashEncoder
from ragguard.text import without
from ragguard.types import Document, Hit, Span, Vectors

QUESTION = "When did the first railway tunnel under the river Severn open to passenger trains?"
QUESTION_OF_TEN = "who was it that painted the ceiling of the hall"
CARRIER = (
    "Sourdough bread rises by wild yeast and lactic acid bacteria that live in a starter of flour and water. "
    "Bakers feed the starter every day, keep it warm, and hold back a part of it for the next loaf. "
    "A long, cool rise gives the crumb its sour taste and its large, uneven holes, and the crust turns dark and thick. "
    "Rye flour ferments faster than wheat, which is why many starters begin with a spoonful of rye."
)
HONEST = (
    "The Severn Tunnel was opened to goods trains in September 1886 and to passenger trains in December of that year. "
    "It took the Great Western Railway thirteen years to build it, since a great spring flooded the works in 1879. "
    "Pumps at Sudbrook still lift the water of that spring, millions of gallons of it every day."
)


def verdict_on(defense: RAGMask, text: str, question: str = QUESTION) -> tuple[list[str], float, float]:
    """The passages masked, and the similarity before and after."""
    result = defense(question, [Hit(Document("d", text), 0.5)], 1)
    (verdict,) = result.verdicts
    return [text[s.start : s.end] for s in verdict.spans], verdict.signals["similarity"], verdict.signals["similarity_left"]


def test_a_copied_question_is_masked_and_named(encoder: SentenceTransformerEncoder) -> None:
    spans, before, after = verdict_on(RAGMask(encoder), plant(CARRIER, QUESTION, ("front",)))
    assert QUESTION[:40] in " ".join(spans)
    assert after < before / 2


@pytest.mark.parametrize("places", [("front", "middle", "end"), ("every-fragment",)])
def test_a_repeated_question_hides_from_single_spans_and_not_from_groups(
    encoder: SentenceTransformerEncoder, places: Sequence[Place]
) -> None:
    text = plant(CARRIER, QUESTION, places)
    _, before, single = verdict_on(RAGMask(encoder, group_similarity=None), text)
    spans, _, grouped = verdict_on(RAGMask(encoder), text)
    assert single > 0.6 * before  # each copy stands in for the others
    assert grouped < 0.1
    assert sum("Severn" in span for span in spans) == text.count("Severn")


def test_an_attacker_who_knows_it_spreads_the_question_and_gets_through(encoder: SentenceTransformerEncoder) -> None:
    """What RAGMask does not stop: no span, and no group of passages, carries the question."""
    _, before, left = verdict_on(RAGMask(encoder), plant(CARRIER, QUESTION, ("spread",) * 3))
    assert before > 0.45
    assert left > 0.8 * before


def test_an_honest_answer_keeps_its_lead(encoder: SentenceTransformerEncoder) -> None:
    poison = Document("poison", plant(CARRIER, QUESTION, ("front",)))
    honest = Document("honest", HONEST)
    result = RAGMask(encoder)(QUESTION, [Hit(poison, 0.9), Hit(honest, 0.8)], 1)
    assert [hit.document.id for hit in result] == ["honest"]
    assert [verdict.action for verdict in result.verdicts] == ["demote", "keep"]


def test_what_is_left_is_embedded_as_it_stands(encoder: SentenceTransformerEncoder) -> None:
    """The score is the similarity of the text without the spans, embedded anew."""
    text = f"{CARRIER} {HONEST}"
    (verdict,) = RAGMask(encoder, delta=0.01)(QUESTION, [Hit(Document("d", text), 0.5)], 1).verdicts
    assert len(verdict.spans) > 1
    rest = encoder.encode_document([without(text, verdict.spans)])[0]
    assert verdict.signals["similarity_left"] == pytest.approx(float(rest @ encoder.encode_query([QUESTION])[0]), abs=1e-5)


def test_spans_are_offsets_in_the_original_text(encoder: SentenceTransformerEncoder) -> None:
    original = "\ufeff" + plant(CARRIER, QUESTION, ("front",)).replace(". ", ".\r\n").replace("crust", "cru\u200bst")
    spans, _, _ = verdict_on(RAGMask(encoder), original)
    assert any(QUESTION[:40] in span for span in spans)


def test_the_rule_by_hand(fake: WordHashEncoder) -> None:
    """v' + delta <= v drops a span; here removing 'town hall' costs all of the similarity, removing 'bread oven' adds some."""
    defense = RAGMask(fake, m=2, delta=0.05, group_similarity=None)
    (verdict,) = defense("town hall", [Hit(Document("d", "town hall bread oven"), 1.0)], 1).verdicts
    assert verdict.spans == (Span(0, 9),)
    generous = RAGMask(fake, m=2, delta=2.0, group_similarity=None)
    (verdict,) = generous("town hall", [Hit(Document("d", "town hall bread oven"), 1.0)], 1).verdicts
    assert verdict.spans == ()


def test_a_text_of_one_span_is_left_as_it_is(fake: WordHashEncoder) -> None:
    (verdict,) = RAGMask(fake, m=15)("town hall", [Hit(Document("d", "town hall"), 1.0)], 1).verdicts
    assert verdict.action == "keep"
    assert verdict.spans == ()


def test_a_text_of_which_nothing_is_left_ranks_last(fake: WordHashEncoder) -> None:
    hits = [Hit(Document("d", "town bread hall oven"), 1.0), Hit(Document("e", "nothing in common with that at all"), 0.1)]
    result = RAGMask(fake, m=2, delta=0.0, group_similarity=None)("town hall bread oven", hits, 1)
    assert [hit.document.id for hit in (*result.kept, *result.reserve)] == ["e", "d"]
    assert "nothing is left" in result.verdicts_on("d")[0].reason


def test_groups_are_of_windows_that_resemble_each_other(fake: WordHashEncoder) -> None:
    filler = [" ".join(f"{letter}{i}" for i in range(10)) for letter in "abcd"]
    text = " ".join([QUESTION_OF_TEN, filler[0], filler[1], QUESTION_OF_TEN, filler[2]])
    (evidence,) = MaskPlan(25, 0.99).build([text], fake.encode_document)
    (group,) = [spans for spans in evidence.spans if len(spans) == 2]
    assert [text[s.start : s.end] for s in group] == [QUESTION_OF_TEN] * 2
    np.testing.assert_allclose(evidence.vectors[-1], fake.encode_document([" ".join(filler[:3])])[0], atol=1e-6)
    (alone,) = MaskPlan(25, None).build([text], fake.encode_document)
    assert alone.spans == evidence.spans[:-1]


def test_candidates_outside_the_pool_are_not_returned_unexamined(fake: WordHashEncoder) -> None:
    hits = [Hit(Document(f"d{i}", f"town hall number {i} and some more words"), 1 - i / 10) for i in range(6)]
    result = RAGMask(fake, m=3, alpha=2)("town hall", hits, 2)
    assert {hit.document.id for hit in result.removed} == {"d4", "d5"}


@pytest.mark.parametrize("bad", [{"m": 0}, {"delta": -0.1}, {"alpha": 0.5}, {"group_similarity": 0.0}, {"group_similarity": 1.1}])
def test_bad_settings_are_errors(fake: WordHashEncoder, bad: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match="RAGMask"):
        RAGMask(fake, **bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["hall", None], ids=["alike", "varied"])
def test_the_work_on_a_hostile_text_is_bounded(word: str | None) -> None:
    class Counting(WordHashEncoder):
        words = 0

        def encode_document(self, texts: Sequence[str]) -> Vectors:
            self.words += sum(len(text.split()) for text in texts)
            return super().encode_document(texts)

    for length in (500, 4096):
        encoder = Counting()
        text = " ".join(word or f"w{i % 37}" for i in range(length))
        RAGMask(encoder)("town hall", [Hit(Document("d", text), 1.0)], 1)
        assert encoder.words < 2.5 * WORK
