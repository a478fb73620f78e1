from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from benchmarks import scale
from benchmarks.synthetic import HashEncoder, Language
from ragguard.defenses import CalibratedGuard
from ragguard.demo.scenario import DATA
from ragguard.evaluation.datasets import load
from ragguard.evidence import profiles
from ragguard.index import DenseIndex
from ragguard.language import corpus
from ragguard.testing import WordHashEncoder
from ragguard.types import Document

DEMO = load(DATA)
TEXTS = [document.text for document in DEMO.documents]
QUERIES = list(DEMO.queries.values())


def guard() -> CalibratedGuard:
    encoder = WordHashEncoder()
    index = DenseIndex(encoder, backend="faiss")
    index.add(DEMO.documents)
    return CalibratedGuard.calibrated(encoder, index, DEMO.documents, QUERIES, k=5, max_clean_query_loss=0.1)


def test_a_large_corpus_s_language_is_learned_from_a_sample_and_no_more() -> None:
    with patch.object(corpus, "SAMPLE", 50):
        sampled = corpus.sample(TEXTS)
        assert len(sampled) == 50 == len(set(sampled) & set(TEXTS))
        assert sampled == corpus.sample(TEXTS) != TEXTS[:50]
        small = guard()
    assert corpus.sample(TEXTS) is TEXTS
    assert (len(small._corpus), len(guard()._corpus)) == (50, len(TEXTS))


def test_a_full_sample_learns_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    full = guard()
    monkeypatch.setattr("ragguard.defenses.calibrated.SAMPLE", len(full._corpus))
    full.learn([Document("new", "a text that nobody has seen before")])
    assert (len(full._corpus), full._corpus.generation) == (len(TEXTS), 0)


def test_what_profiles_hold_is_bounded_and_what_they_are_is_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = guard()._profiles.get(TEXTS[:40])
    monkeypatch.setattr(profiles, "BUILT", 10)
    bounded = guard()
    bounded.prepare(DEMO.documents)
    assert len(bounded._profiles._built) == 10
    for one, other in zip(whole, bounded._profiles.get(TEXTS[:40]), strict=True):
        assert one.surprise.tolist() == other.surprise.tolist()
        assert one.vectors.tolist() == other.vectors.tolist()
    assert len(bounded._profiles._built) == 10


def test_synthetic_texts_are_like_the_real_ones_and_always_the_same() -> None:
    language = Language(TEXTS)
    made = list(language.texts(500, seed=0))
    assert made == list(language.texts(500, seed=0)) != list(language.texts(500, seed=1))
    assert made[:100] == list(language.texts(500, seed=0))[:100]
    assert np.mean([len(text.split()) for text in made]) == pytest.approx(np.mean([len(text.split()) for text in TEXTS]), rel=0.1)
    real = {word for text in TEXTS for word in text.split()}
    words = [word for text in made for word in text.split()]
    assert np.mean([word not in real for word in words]) == pytest.approx(language.new_word, rel=0.1)
    assert {len(text.split()) for text in language.texts(50, seed=0, length=7)} == {7}


def test_synthetic_vectors_depend_on_the_text_alone() -> None:
    vectors = HashEncoder().encode_document(TEXTS)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (HashEncoder().encode_query(TEXTS[7:8]) == vectors[7]).all()
    assert np.abs(vectors @ vectors.T - np.eye(len(TEXTS))).max() < 0.8


def test_the_stages_of_a_small_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "ASKED", 5)
    monkeypatch.setattr(scale, "CALIBRATING", 70)
    monkeypatch.delenv("RAGGUARD_DATA", raising=False)
    found = {key: value for stage in scale.STAGES.values() for key, value in stage(120, tmp_path).items()}
    assert found["disk_bytes_per_document"] > 2 * HashEncoder().dimension
    assert all(value >= 0 for value in found.values())
    json.dumps(found)


def test_growth_is_the_slope_of_a_power() -> None:
    rows = [{"documents": n, "ms": 3 * n**0.5} for n in (1_000, 10_000, 100_000)]
    assert scale.growth(rows, "ms") == pytest.approx(0.5)
