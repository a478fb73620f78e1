from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragguard.encoders import SentenceTransformerEncoder
from ragguard.errors import InvalidInputError
from ragguard.language.ngrams import DISCOUNT, KneserNey, lowercase_words
from ragguard.testing import DOCUMENTS

TEXTS = [document.text for document in DOCUMENTS]
MODEL = KneserNey(TEXTS)

sentences = st.lists(st.sampled_from("abcdef"), max_size=8).map(" ".join)


@given(st.lists(sentences, min_size=1, max_size=8), st.sampled_from([None, "a", "f", "never seen"]))
def test_probabilities_sum_to_one(texts: list[str], previous: str | None) -> None:
    model = KneserNey([*texts, "a"])
    outcomes = [*model.vocabulary, "<unknown>"]
    logs = [model.log_probability(previous, token) for token in outcomes]
    assert math.isclose(sum(map(math.exp, logs)), 1, rel_tol=1e-9)


def test_a_corpus_worked_out_by_hand() -> None:
    # Start-a twice, a-b once, a-c once: two bigrams seen once, one seen twice. Each of three tokens follows one other.
    model = KneserNey(["a b", "a c"])
    discount = 2 / (2 + 2 * 1)
    unseen = DISCOUNT * 3 / 3 / 4
    lower = (1 - DISCOUNT) / 3 + unseen
    assert math.exp(model.log_probability("a", "b")) == pytest.approx((1 - discount + discount * 2 * lower) / 2)
    assert math.exp(model.log_probability("a", "x")) == pytest.approx(discount * 2 * unseen / 2)
    assert math.exp(model.log_probability("x", "b")) == pytest.approx(lower)
    assert model.perplexity("x") == pytest.approx(2 / (discount * unseen))


def test_what_follows_many_words_is_likelier_than_what_is_frequent_after_one() -> None:
    model = KneserNey(["san francisco"] * 9 + ["the end", "a end", "his end"])
    assert model.log_probability("new", "end") > model.log_probability("new", "francisco")


def test_order_makes_text_probable() -> None:
    text = TEXTS[0]
    salad = " ".join(sorted(text.split()))
    assert MODEL.perplexity(text) < MODEL.perplexity("the guild of artists painted") < MODEL.perplexity(salad)


def test_log_probabilities_are_those_of_the_tokens() -> None:
    logs = MODEL.log_probabilities("Town halls, zzz")
    assert logs.tolist() == [
        MODEL.log_probability(*pair) for pair in [(None, "town"), ("town", "halls"), ("halls", ","), (",", "zzz")]
    ]
    assert np.isfinite(logs).all()
    assert MODEL.log_probabilities(" \n").shape == (0,)


def test_successors_are_the_most_probable_of_all() -> None:
    for token in ("the", "of", None, "never seen"):
        every = sorted(MODEL.vocabulary, key=lambda one: (-MODEL.log_probability(token, one), one))
        assert MODEL.successors(token, 7) == every[:7]
    assert set(MODEL.successors("the", 10**6)) == set(MODEL.vocabulary)


def test_tokens_may_be_word_pieces(encoder: SentenceTransformerEncoder) -> None:
    model = KneserNey(TEXTS, encoder.model.tokenizer.tokenize)
    assert any(token.startswith("##") for token in model.vocabulary)
    assert model.perplexity(TEXTS[0]) < model.perplexity("##ly ##ly zebra")


def test_default_tokens() -> None:
    assert lowercase_words("Who? Me, 3 — 漢字\n") == ["who", "?", "me", ",", "3", "—", "漢", "字"]


def test_nothing_to_learn_or_to_judge_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match="at least one text"):
        KneserNey(["", " "])
    with pytest.raises(InvalidInputError, match="without tokens"):
        MODEL.perplexity("")
    with pytest.raises(InvalidInputError, match="n must be"):
        MODEL.successors("the", 0)


def test_leaving_out_is_as_if_never_learned() -> None:
    texts = ["the cat sat on the mat", "the dog sat on the log", "a cat and a dog"]
    without = KneserNey(texts[:2])
    model = KneserNey(texts)
    left = model.leaving_out([model.ids(lowercase_words(texts[2]))])
    for token in ("cat", "dog", "mat", "on"):
        expected = without.leaving_out(()).lower(without.ids([token]))
        assert left.lower(model.ids([token])) == pytest.approx(expected, rel=0.5)
    a, cat = model.ids(["a"]), model.ids(["cat"])
    assert left.probability(a, cat) == left.lower(cat)  # nothing else has an "a"
    assert left.probability(a, cat) < 0.5 * model.leaving_out(()).probability(a, cat)
    assert left.seen(model.ids(["a", "cat", "zebra"])).tolist() == [0, 1, 0]


def test_learning_in_two_steps_is_learning_at_once() -> None:
    model = KneserNey(TEXTS[:1])
    model.learn(lowercase_words(text) for text in TEXTS[1:])
    assert model.bigrams.keys.tolist() == MODEL.bigrams.keys.tolist()
    assert model.bigrams.counts.tolist() == MODEL.bigrams.counts.tolist()
    assert model.log_probability("the", "end") == MODEL.log_probability("the", "end")
