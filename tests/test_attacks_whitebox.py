from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from ragguard.attacks.base import Budget, Target
from ragguard.attacks.corpus_poisoning import CorpusPoisoning
from ragguard.attacks.flips import GRADIENT_CALLS, Search, Template, WhiteBox, flip
from ragguard.attacks.gaslite import GASLITE, ascend
from ragguard.attacks.hotflip import HotFlip
from ragguard.attacks.phantom import Phantom
from ragguard.attacks.planted import Place, plant
from ragguard.attacks.poisonedrag import PoisonedRAG, PoisonedRAGWhiteBox
from ragguard.demo.scenario import DATA
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.errors import InvalidInputError
from ragguard.evaluation.datasets import load
from ragguard.testing import WordHashEncoder
from ragguard.types import Document, Vectors

DEMO = load(DATA)
PASSAGES = [Document(d.id, " ".join(d.text.split()[:30])) for d in DEMO.documents[:20]]
TARGETS = [Target(name, DEMO.queries[name], lies=(DEMO.documents[-1].text,)) for name in list(DEMO.queries)[:2]]
ABOUT = {topic: [q for name, q in DEMO.queries.items() if f"-{topic}-" in name] for topic in ("astronomy", "geology")}


class Counting:
    """The real encoder; remembers the documents it encodes."""

    def __init__(self, encoder: SentenceTransformerEncoder) -> None:
        self._encoder, self.texts = encoder, list[str]()
        self.name, self.dimension = encoder.name, encoder.dimension

    @property
    def model(self) -> SentenceTransformer:
        return self._encoder.model

    def encode_query(self, texts: Sequence[str]) -> Vectors:
        return self._encoder.encode_query(texts)

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        self.texts += texts
        return self._encoder.encode_document(texts)


@pytest.fixture(scope="module", autouse=True)
def one_thread(encoder: SentenceTransformerEncoder) -> Iterator[None]:
    """Batches of eight short texts gain nothing from a second one, and lose tenfold where it has to wait for a core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def box(encoder: SentenceTransformerEncoder) -> WhiteBox:
    return WhiteBox(encoder)


def similarity(encoder: SentenceTransformerEncoder, queries: Sequence[str], text: str) -> float:
    vectors = np.concatenate([encoder.encode_query([query]) for query in queries])
    return float((vectors @ encoder.encode_document([text])[0]).mean())


@pytest.mark.parametrize("places", [("front",), ("spread",), ("middle", "end"), ("every-fragment",), ("spread", "spread")])
def test_a_template_is_what_plant_makes(places: Sequence[Place]) -> None:
    trigger = ("why", "not", "now")
    template = Template.planted(PASSAGES[0].text, 3, places)
    text = template.fill(trigger)
    assert text == plant(PASSAGES[0].text, " ".join(trigger), places)
    found = [text[span.start : span.end] for span in template.spans(trigger)]
    assert found == [trigger[position] for position in template.order]
    assert set(found) == set(trigger)


def test_the_vocabulary_is_read_back(box: WhiteBox, encoder: SentenceTransformerEncoder) -> None:
    ids, words = box.vocabulary
    assert len(ids) == len(words) == len(set(words)) > 10_000
    assert encoder.model.tokenizer(" ".join(words[::97]), add_special_tokens=False)["input_ids"] == ids[::97].tolist()


def test_gains_are_the_slope_of_the_similarity(box: WhiteBox, encoder: SentenceTransformerEncoder) -> None:
    goal = encoder.encode_query([TARGETS[0].query])[0]
    template, start = Template.planted(PASSAGES[0].text, 3), ("river", "equilateral's", "house")
    search = Search(box, template, goal, start, calls=1000)
    gains = search.gains([start])
    assert gains is not None
    assert gains[0][search.vocabulary.index("river")] == pytest.approx(0, abs=1e-6)  # it is there already
    drawn = np.random.default_rng(0).choice(len(search.vocabulary), 100, replace=False)
    texts = [template.fill((search.vocabulary[v], *start[1:])) for v in drawn]
    true = encoder.encode_document(texts) @ goal - search.similarity
    assert np.corrcoef(gains[0][drawn], true)[0, 1] > 0.3


@pytest.mark.parametrize("strategy", [flip, ascend])
def test_the_best_never_falls_and_the_budget_holds(box: WhiteBox, encoder: SentenceTransformerEncoder, strategy: object) -> None:
    assert callable(strategy)
    counting = Counting(encoder)
    own = WhiteBox(counting)
    own.vocabulary = box.vocabulary
    goal = encoder.encode_query([TARGETS[0].query])[0]
    reached = []
    for calls in (1, 30, 90):
        counting.texts.clear()
        search = Search(own, Template.planted("", 8), goal, ("stone",) * 8, calls)
        strategy(search, np.random.default_rng(0))
        reached.append(search.similarity)
        assert len(counting.texts) + GRADIENT_CALLS * (calls > 1) <= calls
        assert search.similarity == pytest.approx(similarity(encoder, [TARGETS[0].query], " ".join(search.best)), abs=1e-5)
    assert reached[0] + 0.1 < reached[1] < reached[2] - 0.1


@pytest.mark.parametrize(("attack", "place"), [(HotFlip, "spread"), (GASLITE, "front")])
def test_an_optimised_trigger_beats_the_copied_query(
    encoder: SentenceTransformerEncoder, attack: type[HotFlip], place: Place
) -> None:
    target, carrier = TARGETS[0], PASSAGES[:1]
    (made,) = attack(encoder, carrier, words=14, calls=200, places=(place,))([target], Budget(1))
    copied = similarity(encoder, [target.query], plant(carrier[0].text, target.query, (place,)))
    assert similarity(encoder, [target.query], made.text) > copied


def test_made_once_and_the_same_with_the_same_seed(encoder: SentenceTransformerEncoder) -> None:
    counting, cache = Counting(encoder), dict[str, str]()

    def made(seed: int = 0, calls: int = 20) -> list[Document]:
        return HotFlip(counting, PASSAGES, words=4, calls=calls, cache=cache, seed=seed)(TARGETS[:1], Budget(2))

    first, spent = made(), len(counting.texts)
    assert 0 < spent <= 20
    assert made() == first
    assert len(counting.texts) == spent
    assert HotFlip(counting, PASSAGES, words=4, calls=20)(TARGETS[:1], Budget(2)) == first
    assert made(seed=1) != first
    made(calls=21)
    assert len(cache) == 3


@pytest.mark.parametrize("place", ["front", "spread"])
def test_the_first_document_is_a_text_that_the_search_encoded(encoder: SentenceTransformerEncoder, place: Place) -> None:
    counting = Counting(encoder)
    made = GASLITE(counting, PASSAGES, words=3, calls=20, places=(place,))(TARGETS[:1], Budget(2))
    assert made[0].text in counting.texts
    assert made[1].text not in counting.texts


def test_corpus_poisoning_reaches_queries_it_has_not_seen(encoder: SentenceTransformerEncoder) -> None:
    known = [query for queries in ABOUT.values() for query in queries[:2]]
    attack = CorpusPoisoning(encoder, known, words=10, calls=100)
    made = attack([Target(query, query) for queries in ABOUT.values() for query in queries[2:]], Budget(2))
    assert attack.threat.knows == ("topic", "encoder")
    random = " ".join(np.random.default_rng(0).choice(WhiteBox(encoder).vocabulary[1], 10))
    for queries in ABOUT.values():
        reached = max(similarity(encoder, queries[2:], document.text) for document in made)
        assert reached > similarity(encoder, queries[2:], random) + 0.15


def test_corpus_poisoning_knows_the_targets_where_it_is_given_no_queries(encoder: SentenceTransformerEncoder) -> None:
    attack = CorpusPoisoning(encoder, words=4, calls=5)
    assert attack.threat.knows == ("query", "encoder")
    with pytest.raises(InvalidInputError, match="2 queries make no 3 groups"):
        attack(TARGETS, Budget(3))


def test_phantom_wakes_at_its_trigger_word(encoder: SentenceTransformerEncoder) -> None:
    attack = Phantom(encoder, PASSAGES, ABOUT["geology"], words=10, calls=120)
    (made,) = attack([], Budget(1))
    unseen = [Target(query, query) for query in ABOUT["astronomy"]]
    asked = [attack.asked(target) for target in unseen]
    assert all(query.endswith("lego") for query in asked)
    carrier = next(p.text for p in PASSAGES if made.text.endswith(p.text))
    gain = similarity(encoder, asked, made.text) - similarity(encoder, asked, carrier)
    gain_asleep = similarity(encoder, ABOUT["astronomy"], made.text) - similarity(encoder, ABOUT["astronomy"], carrier)
    assert gain > 0.1
    assert gain > gain_asleep + 0.15


def test_poisonedrag_puts_the_question_before_each_lie(encoder: SentenceTransformerEncoder) -> None:
    target = Target("q", "who painted the hall", lies=("A guild did.", "Nobody did."))
    texts = [document.text for document in PoisonedRAG()([target], Budget(2))]
    assert texts == ["who painted the hall. A guild did.", "who painted the hall. Nobody did."]
    with pytest.raises(InvalidInputError, match="lies about 'q'"):
        PoisonedRAG()([Target("q", "who painted the hall", incorrect="a guild")], Budget(1))


def test_white_box_poisonedrag_beats_the_question(encoder: SentenceTransformerEncoder) -> None:
    plain, found = (attack(TARGETS[:1], Budget(1))[0] for attack in (PoisonedRAG(), PoisonedRAGWhiteBox(encoder, calls=80)))
    assert found.text.endswith(TARGETS[0].lies[0])
    query = [TARGETS[0].query]
    assert similarity(encoder, query, found.text) > similarity(encoder, query, plain.text)


def test_an_encoder_without_weights_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match="no weights"):
        HotFlip(WordHashEncoder(), PASSAGES)  # type: ignore[arg-type]
