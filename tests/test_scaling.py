from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest

from benchmarks import scaling

DIMENSION = 12.0  # of synthetic corpora: the share of documents nearer than a distance d is d ** DIMENSION


def corpus(queries: int, documents: int, seed: int = 0) -> scaling.Floats:
    distances = np.random.default_rng(seed).uniform(size=(queries, documents)) ** (1 / DIMENSION)
    return 1 - distances


def kth_best(documents: int) -> float:
    """Median of the k-th best similarity in such a corpus."""
    return 1 - float((scaling.K / documents) ** (1 / DIMENSION))


def test_best_is_sorted() -> None:
    found = scaling.best(np.array([[0.1, 0.9, 0.5, 0.7], [3.0, 1.0, 2.0, 0.0]]), 2)
    assert found.tolist() == [[0.9, 0.7], [3.0, 2.0]]


@pytest.mark.parametrize("skip", [0, 20])
def test_the_fit_recovers_the_dimension(skip: int) -> None:
    tail = scaling.fit(corpus(200, 3_000), take=100, skip=skip)
    assert 1 / float(tail.scale.mean()) == pytest.approx(DIMENSION, rel=0.03)
    assert tail.share == (100 + skip) / 3_000


def test_skipped_ranks_may_be_anything() -> None:
    ordinary = corpus(200, 3_000)
    on_topic = ordinary.copy()
    on_topic[np.arange(200)[:, None], np.argsort(-ordinary)[:, :20]] = 0.9
    assert np.allclose(scaling.fit(on_topic, 100, skip=21).scale, scaling.fit(ordinary, 100, skip=21).scale)
    assert scaling.fit(on_topic, 100).scale.mean() > 1.5 * scaling.fit(ordinary, 100).scale.mean()


def test_a_grown_corpus_has_the_kth_best_of_a_real_one_of_its_size() -> None:
    small = corpus(200, 2_000)
    grown = scaling.grow(scaling.best(small, scaling.K), scaling.fit(small, 100), 198_000, 20, np.random.default_rng(1))
    real = scaling.best(corpus(20, 200_000, seed=2), scaling.K)[:, -1]
    assert grown.shape == (200, 20)
    assert float(grown.mean()) == pytest.approx(float(real.mean()), abs=0.01)
    assert float(real.mean()) == pytest.approx(kth_best(200_000), abs=0.01)
    assert (grown >= scaling.best(small, scaling.K)[:, -1:]).all()


def test_chance_counts_subsets() -> None:
    subsets = list(combinations(range(6), 3))
    expected = sum(1 for subset in subsets if {0, 1} & set(subset)) / len(subsets)
    assert scaling.chance(np.array([0, 2, 6]), 6, 3) == pytest.approx([0.0, expected, 1.0])


def test_success_is_a_poisoned_document_above_the_kth_best_honest_one() -> None:
    poison = [np.array([0.9, 0.1]), np.array([0.5, 0.4])]
    levels = np.array([[0.5, 0.95], [0.6, 0.7]])
    assert scaling.success(poison, levels, 1).tolist() == [0.25, 0.0]
    assert scaling.success(poison, levels, 2).tolist() == [0.5, 0.0]
    assert scaling.success(poison, levels, 250).tolist() == [0.5, 0.0]  # all there are


def test_wilson_at_the_edge_and_in_the_middle() -> None:
    assert scaling.wilson(1.0, 50) == [0.929, 1.0]
    assert scaling.wilson(0.5, 50) == [0.366, 0.634]


def test_rows_of_an_attack_whose_answer_is_known() -> None:
    honest = corpus(5, 12_000)
    # One in ten documents beats anything a corpus of a million holds; the others beat nothing.
    strong = np.where(np.arange(250) % 10 == 0, 0.99, -1.0)
    found, needed = scaling.rows(honest, {("known", "A"): [strong] * 5}, np.random.default_rng(0))
    rates = {(row["documents"], row["topic"], row["poisoned"]): row["asr"] for row in found if row["fixed"] == "count"}
    assert {rate for (_, _, poisoned), rate in rates.items() if poisoned == 1} == {0.1}
    assert {rate for (_, _, poisoned), rate in rates.items() if poisoned == 250} == {1.0}
    assert {row["for_asr_0.9"] for row in needed} == {next(n for n in range(250) if comb(225, n) <= 0.1 * comb(250, n))}
    assert {row["simulated"] for row in found if row["documents"] > 12_000} == {True}
    shares = [row for row in found if row["fixed"] == "share" and row["share"] == 1e-4 and row["topic"] != "stays"]
    assert [row["poisoned"] for row in shares] == [1, 1, 10, 100]
    assert {row["poisoned"] for row in found if not row["at_least"]} == {1, 5, 10, 12, 50, 100, 120, 250}


def test_validation_of_a_corpus_that_is_what_the_simulation_assumes() -> None:
    honest = corpus(30, 12_000)
    poison = [np.full(5, kth_best(12_000) + 0.1)] * 30
    found = scaling.validate(honest, poison, 3_000, np.random.default_rng(0))
    for topic in ("grows", "stays"):
        assert found[topic]["similarity_predicted"] == pytest.approx(found[topic]["similarity_real"], abs=0.015)
    assert (found["grows"]["asr_real"], found["grows"]["asr_predicted"]) == (1.0, pytest.approx(1.0, abs=0.02))


def test_without_data_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAGGUARD_DATA", raising=False)
    assert scaling.measure() == {}
