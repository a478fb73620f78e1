from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ragguard.attacks.planted import Place, plant
from ragguard.defenses import RAGMask
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.errors import InvalidInputError
from ragguard.evidence import WORK, MaskPlan, MemoryStore
from ragguard.testing import WordHashEncoder
from ragguard.text import content_hash, without
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


def similarity(fake: WordHashEncoder, text: str, query: str = "town hall") -> float:
    return float(fake.encode_document([text])[0] @ fake.encode_query([query])[0])


def test_a_verdict_by_hand(fake: WordHashEncoder) -> None:
    """Two of three spans carry the similarity; what is left of the third is embedded anew."""
    text = "town hall bread oven hall town"
    result = RAGMask(fake, m=2, group_similarity=None)("town hall", [Hit(Document("d", text), 0.5)], 1)
    (verdict,) = result.verdicts
    whole, left = similarity(fake, text), similarity(fake, "bread oven")
    collapses = [similarity(fake, rest) + 0.05 <= whole for rest in ("bread oven hall town", "town hall hall town", text[:20])]
    assert collapses == [True, False, True]
    assert verdict.spans == (Span(0, 9), Span(21, 30))
    assert verdict.signals == {"similarity": pytest.approx(whole), "similarity_left": pytest.approx(left)}
    assert verdict.suspicion == pytest.approx(whole - left)
    assert result.kept[0].score == pytest.approx(left)
    assert verdict.reason == f"Similarity {whole:.2f} falls to {left:.2f} without 2 passages that carried it."
    (verdict,) = RAGMask(fake, m=2, group_similarity=None)("town hall", [Hit(Document("d", text[:20]), 0.5)], 1).verdicts
    assert verdict.reason.endswith("without 1 passage that carried it.")
    (verdict,) = RAGMask(fake)("town hall", [Hit(Document("d", text), 0.5)], 1).verdicts
    assert verdict.reason == f"Similarity {whole:.2f}; no span carries more than 0.05 of it."
    assert verdict.suspicion == 0


def test_a_span_that_carries_just_delta_goes(fake: WordHashEncoder) -> None:
    (evidence,) = MaskPlan(2, None).build(["town hall bread oven"], fake.encode_document)
    whole, without_town_hall, _ = (evidence.vectors @ fake.encode_query(["town hall"])[0]).tolist()
    for delta, spans in ((whole - without_town_hall - 1e-3, 1), (whole - without_town_hall + 1e-3, 0)):
        defense = RAGMask(fake, m=2, delta=delta, group_similarity=None)
        assert len(defense("town hall", [Hit(Document("d", "town hall bread oven"), 1.0)], 1).verdicts[0].spans) == spans


def test_equal_scores_go_by_content_and_then_by_id(fake: WordHashEncoder) -> None:
    texts = {"z": "town hall oven", "b": "hall town oven", "a": "town hall oven", "c": "oven town hall"}
    result = RAGMask(fake)("town", [Hit(Document(name, text), 0.5) for name, text in texts.items()], 4)
    order = sorted(texts, key=lambda name: (content_hash(texts[name]), name))
    assert [hit.document.id for hit in result] == order
    assert order.index("a") + 1 == order.index("z")


@pytest.mark.parametrize(("alpha", "k", "examined"), [(None, 1, 6), (1.0, 2, 2), (1.5, 3, 5), (4.0, 3, 6)])
def test_alpha_times_k_are_examined(fake: WordHashEncoder, alpha: float | None, k: int, examined: int) -> None:
    hits = [Hit(Document(f"d{i}", f"number {i}"), 1 - i / 10) for i in range(6)]
    result = RAGMask(fake, alpha=alpha)("town hall", hits, k)
    assert result.removed == tuple(hits[examined:])
    told = {verdict.reason for verdict in result.verdicts[examined:]}
    assert told <= {f"Not among the {examined} candidates that are examined."}


def test_what_was_prepared_is_found_in_the_store_and_remainders_are_computed_once() -> None:
    class Counting(WordHashEncoder):
        asked = 0

        def encode_document(self, texts: Sequence[str]) -> Vectors:
            self.asked += len(texts)
            return super().encode_document(texts)

        def encode_query(self, texts: Sequence[str]) -> Vectors:
            return WordHashEncoder().encode_document(texts)

    encoder, store = Counting(), MemoryStore()
    documents = [Document("d", "town hall bread oven hall town"), Document("blank", " ")]
    defense = RAGMask(encoder, m=2, group_similarity=None, store=store)
    assert defense.name == "RAGMask(m=2, delta=0.05)"
    assert RAGMask(encoder).name == "RAGMask(m=15, delta=0.05, groups)"
    defense.prepare(documents)
    prepared = encoder.asked
    assert prepared == 4  # the whole, and without each of three spans
    for _ in range(2):
        defense("town hall", [Hit(documents[0], 1.0)], 1)
        assert encoder.asked == prepared + 1
    RAGMask(encoder, m=2, group_similarity=None, store=store).prepare(documents)
    assert encoder.asked == prepared + 1
    RAGMask(encoder, m=2, group_similarity=None).prepare(documents)
    assert encoder.asked == 2 * prepared + 1
    RAGMask(encoder, m=3, group_similarity=None, store=store).prepare(documents)
    assert encoder.asked > 2 * prepared + 1


def test_a_record_says_which_encoder_it_had(fake: WordHashEncoder) -> None:
    assert RAGMask(fake).describe()["encoder"] == "word-hash"
