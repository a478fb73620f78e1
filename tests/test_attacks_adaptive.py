from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ragguard.attacks import (
    AdversarialDecoding,
    Budget,
    JointAttack,
    RepeatAgainstRAGPart,
    SpreadAgainstRAGMask,
    Target,
)
from ragguard.attacks.adversarial_decoding import Bigrams, CausalLanguageModel
from ragguard.defenses import RAGMask, RAGPart
from ragguard.demo.scenario import DATA
from ragguard.encoders import SentenceTransformerEncoder, offline_model_path
from ragguard.errors import InvalidInputError
from ragguard.evaluation import datasets
from ragguard.index import DenseIndex
from ragguard.protocols import Encoder
from ragguard.testing import WordHashEncoder
from ragguard.text import fragments, words
from ragguard.types import Document, Hit, Vectors

DATASET = datasets.load(DATA)
TARGETS = datasets.targets(DATASET, 3)


@pytest.mark.parametrize("copies", [1, 2, 3, 5])
def test_repeating_fills_as_many_fragments_as_it_says(copies: int) -> None:
    (made,) = RepeatAgainstRAGPart(DATASET.documents, copies=copies)(TARGETS[:1], Budget(1))
    query = " ".join(TARGETS[0].query.split())
    held = [query in made.text[span.start : span.end] for span in fragments(made.text, 5)]
    assert sum(held) == copies
    assert made.text.count(query) == copies


def test_a_payload_is_kept_by_both() -> None:
    for attack in (RepeatAgainstRAGPart(DATASET.documents, copies=3), SpreadAgainstRAGMask(DATASET.documents, rounds=3)):
        (made,) = attack(TARGETS[:1], Budget(1))
        rest = made.text.split()
        for word in TARGETS[0].query.split() * 3:
            rest.remove(word)
        assert sorted(rest) in [sorted(document.text.split()) for document in DATASET.documents]


def test_repeating_is_refused_without_room() -> None:
    with pytest.raises(InvalidInputError, match="1 to 5 copies, not 6"):
        RepeatAgainstRAGPart(DATASET.documents, copies=6)
    with pytest.raises(InvalidInputError, match="a place to write at"):
        SpreadAgainstRAGMask(DATASET.documents, rounds=0)


class Counting(WordHashEncoder):
    calls = 0

    def encode_document(self, texts: Sequence[str]) -> Vectors:
        self.calls += len(texts)
        return super().encode_document(texts)


def test_a_joint_attack_climbs_within_its_budget_and_its_share_of_words() -> None:
    encoder = Counting()
    index = DenseIndex(encoder, backend="faiss")
    index.add(DATASET.documents)

    def guard(own: Encoder) -> RAGPart:
        return RAGPart(own, n=5, k=2, min_share=0.5)

    def margin(calls: int) -> tuple[float, str]:
        before = encoder.calls
        attack = JointAttack(DATASET.documents, index, encoder, guard, calls=calls, k=5, depth=10)
        (made,) = attack(TARGETS[:1], Budget(1))
        assert encoder.calls - before <= calls + 10 * 5 + 3  # the fragments of honest candidates, and queries
        hits = sorted([*index.retrieve(TARGETS[0].query, 10), _hit(encoder, TARGETS[0], made)], key=lambda h: -h.score)[:10]
        (verdict,) = guard(encoder).__call__(TARGETS[0].query, hits, 5).verdicts_on(made.id) or (None,)
        return (verdict.signals["vote_share"] if verdict else -1.0), made.text

    few, many = margin(12), margin(1000)
    assert few[0] <= 0.5 < many[0]  # the query in front is dropped, what was climbed is kept
    carrier = min(len(words(document.text)) for document in DATASET.documents)
    assert len(words(many[1])) >= carrier
    assert margin(12) == few


def _hit(encoder: Encoder, target: Target, document: Document) -> Hit:
    return Hit(document, float((encoder.encode_document([document.text]) @ encoder.encode_query([target.query])[0])[0]))


def test_a_joint_attack_finds_what_ragmask_does_not_see(encoder: SentenceTransformerEncoder) -> None:
    """The real guard and model: the copied query is masked, what was climbed is kept."""
    index = DenseIndex(encoder)
    index.add(DATASET.documents[:60])
    target = next(t for t in datasets.targets(DATASET, 80) if t.relevant[0] in DATASET.documents[:60])
    cache: dict[str, str] = {}
    attack = JointAttack(DATASET.documents[100:], index, encoder, lambda own: RAGMask(own), calls=400, k=3, depth=6, cache=cache)
    (made,) = attack([target], Budget(1))
    assert len(cache) == 1
    assert attack([target], Budget(1)) == [made]
    hits = sorted([*index.retrieve(target.query, 6), _hit(encoder, target, made)], key=lambda h: -h.score)[:6]
    result = RAGMask(encoder)(target.query, hits, 3)
    assert made.id in {hit.document.id for hit in result.kept}


def test_decoding_reads_better_than_it_must_and_beats_the_question_s_words_at_random(encoder: SentenceTransformerEncoder) -> None:
    target = TARGETS[0]
    cache: dict[str, str] = {}
    attack = AdversarialDecoding(encoder, DATASET.documents, words=8, beams=3, cache=cache)
    (made,) = attack([target], Budget(1))
    trigger = next(iter(cache.values()))
    assert made.text.startswith(trigger)
    assert AdversarialDecoding(encoder, DATASET.documents, words=8, beams=3, cache=cache)([target], Budget(1)) == [made]
    query = encoder.encode_query([target.query])[0]
    random = " ".join(np.random.default_rng(0).permutation(DATASET.documents[7].text.split())[:8])
    near, far = encoder.encode_document([trigger, random]) @ query
    assert near > 0.7 > far
    model = Bigrams([document.text for document in DATASET.documents])

    def likelihood(text: str) -> float:
        split = text.split()
        return float(np.mean([model.next_words(split[:i], [word])[word] for i, word in enumerate(split)]))

    shuffled = " ".join(np.random.default_rng(0).permutation(trigger.split()))
    assert likelihood(trigger) > likelihood(shuffled)


def test_any_causal_language_model_can_decode(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A random one of the right shape: what is checked is that words come out, not that they make sense."""
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("lm")
    tokenizer = AutoTokenizer.from_pretrained(str(offline_model_path()))
    tokenizer.save_pretrained(folder)
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2)).save_pretrained(folder)
    model = CausalLanguageModel(str(folder))
    found = model.next_words(["the", "red"], ["fox"])
    assert "fox" in found
    assert len(found) > 1
    assert all(word.isalnum() and log < 0 for word, log in found.items())
    assert model.next_words([], ["fox"])
