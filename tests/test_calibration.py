"""The arithmetic of calibration, by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binomtest

from ragguard.calibration import Calibration, Drift, Scale, checked_k, corpus_hash, parts, scale, suspicions
from ragguard.errors import InvalidInputError
from ragguard.text import content_hash


def calibration(maxima: Sequence[float], k: int = 5) -> Calibration:
    return Calibration(encoder="e", k=k, scales={}, maxima=tuple(maxima))


def test_the_threshold_is_an_order_statistic() -> None:
    found = calibration(range(1, 100))
    assert found.threshold(0.02) == 98  # ceil(.98 * 100)
    assert found.threshold(0.5) == 50
    assert found.threshold(0.02, poisoned=0.05) == 95  # ceil(.98 * 96): four of 99 may be poisoned
    assert found.threshold(0.5, poisoned=0.05) == 48  # ceil(.5 * 96)
    assert found.threshold(0.04, confident=True) == 99  # nobody knows more of the quantile of 96 % with 99 queries
    assert calibration(range(1, 150)).threshold(0.02, confident=True) == 149
    assert found.threshold(0.1, confident=True) == 95  # of 99, 94 or fewer lie below the quantile of 90 % in 95 % of draws


@pytest.mark.parametrize("loss", [0.02, 0.1, 0.3])
def test_clean_queries_lose_no_more_than_the_set_share(loss: float) -> None:
    generator = np.random.default_rng(0)
    losses = []
    for _ in range(2000):
        draw = np.sort(generator.lognormal(size=101))  # any distribution will do
        live = draw[-1] if (at := int(generator.integers(101))) == 100 else draw[at]
        losses.append(live > calibration(np.delete(draw, at).tolist()).threshold(loss))
    assert np.mean(losses) <= loss + 2 * np.sqrt(loss * (1 - loss) / 2000)
    assert np.mean(losses) >= loss / 3


def test_confidence_holds_for_draws_not_on_average() -> None:
    generator = np.random.default_rng(0)
    over = [1 - calibration(np.sort(generator.random(200)).tolist()).threshold(0.05, confident=True) > 0.05 for _ in range(1000)]
    assert np.mean(over) <= 0.05 + 0.02


def test_one_poisoned_query_in_a_hundred_does_not_lift_the_threshold() -> None:
    clean = [float(x) for x in range(99)]
    poisoned = [*clean, 1e6]
    assert calibration(poisoned).threshold(0.02, poisoned=0.01) <= calibration(clean).threshold(0.02)
    assert scale(poisoned, 0.1).unit == pytest.approx(scale(clean, 0.1).unit, rel=0.05)


def test_a_signal_that_never_speaks_is_decisive_where_it_does() -> None:
    assert scale([0.0] * 50, 0.05).standard(np.array([0.7]))[0] > 10


@pytest.mark.parametrize("loss", [-0.1, 0, 1, 1.5])
def test_a_share_lies_between_0_and_1(loss: float) -> None:
    for wrong in (lambda: calibration(range(99)).threshold(loss), lambda: parts([str(i) for i in range(99)], loss)):
        with pytest.raises(InvalidInputError, match="may lose a document must lie between 0 and 1"):
            wrong()


@pytest.mark.parametrize("poisoned", [-0.1, 1, 1.5])
def test_the_poisoned_share_is_refused_by_its_own_name(poisoned: float) -> None:
    with pytest.raises(InvalidInputError, match=f"poisoned calibration queries.*not {poisoned}"):
        calibration(range(99)).threshold(0.02, poisoned=poisoned)


@pytest.mark.parametrize(
    ("n", "options", "least"),
    [(48, {}, 49), (148, {"confident": True}, 149), (49, {"poisoned": 0.05}, 49)],
)
def test_too_few_queries_are_refused_with_the_number_that_is_enough(n: int, options: dict[str, float], least: int) -> None:
    with pytest.raises(InvalidInputError, match=f"give at least {least}, or allow more"):
        calibration(range(n)).threshold(0.02, **options)  # type: ignore[arg-type]
    calibration(range(least + least // 10)).threshold(0.02, **options)  # type: ignore[arg-type]


def test_p_values_count_the_query_at_hand_in() -> None:
    maxima = (1.0, 2.0, 2.0, 3.0)
    for found in (calibration(maxima), Scale(typical=0, unit=1, maxima=maxima)):
        assert [found.p_value(score) for score in (0.5, 1, 2, 2.5, 3, 4)] == [1, 1, 0.8, 0.4, 0.4, 0.2]


def test_a_scale_goes_from_the_median_to_one_query_in_fifty() -> None:
    made = scale([*range(200, 99, -1)], least=0.1)
    assert (made.typical, made.unit, made.maxima) == (150, 48, tuple(range(100, 201)))
    np.testing.assert_allclose(made.standard(np.array([150.0, 198.0, 102.0])), [0, 1, -1])
    assert scale([3.0] * 20, least=0.1).unit == 0.1


def test_suspicion_is_the_fourth_norm_of_what_lies_above_the_usual() -> None:
    scales = {"a": Scale(typical=1, unit=2, maxima=(1.0,)), "b": Scale(typical=0, unit=1, maxima=(1.0,))}
    found = suspicions(scales, {"a": np.array([1.0, 3.0, 5.0, 0.0]), "b": np.array([-9.0, 1.0, 0.5, 0.0])})
    np.testing.assert_allclose(found, [0, 2**0.25, (16 + 0.5**4) ** 0.25, 0])


def test_a_corpus_is_named_by_its_different_texts_in_any_order() -> None:
    texts = ["one", "two", "three"]
    name = hashlib.sha256("".join(sorted(map(content_hash, texts))).encode()).hexdigest()
    assert corpus_hash(texts) == corpus_hash(["three", "one", "two", "one"]) == (3, name)
    assert corpus_hash(texts[:2])[1] != name
    assert corpus_hash([])[0] == 0


def test_half_of_the_queries_fit_scales_but_as_many_as_the_loss_needs_set_the_threshold() -> None:
    names = [str(i) for i in range(80)]
    assert parts(names, 0.02) == (names[:31], names[31:])
    assert parts([*names, *names], 0.1) == (names[:40], names[40:])
    assert parts(names[:19], 0.1) == (names[:10], names[10:19])  # nine: 1 / .1 - 1
    with pytest.raises(InvalidInputError, match="18 different queries are too few: .* needs 9 to calibrate with"):
        parts(names[:18], 0.1)


def test_drift_warns_when_too_many_queries_are_suspicious() -> None:
    drift = Drift(0.02)
    assert drift.warning is None
    for i in range(100):
        drift.count(i % 50 == 0)
    assert drift.warning is None
    for _ in range(20):
        drift.count(True)
    assert drift.warning is not None
    assert "22 of 120 queries" in drift.warning


@pytest.mark.parametrize(("found", "n", "loss"), [(4, 4, 0.3), (3, 4, 0.25), (10, 100, 0.05), (30, 40, 0.5), (900, 1000, 0.1)])
def test_drift_tells_the_lower_end_of_the_wilson_interval(found: int, n: int, loss: float) -> None:
    drift = Drift(loss)
    for i in range(n):
        drift.count(i < found)
    low = binomtest(found, n).proportion_ci(method="wilson").low
    assert f"{found} of {n} queries" in (drift.warning or "")
    assert f"(at least {low:.1%} with" in (drift.warning or "")
    assert Drift(low + 1e-3, n, found).warning is None


def test_drift_says_nothing_before_a_query_of_the_share_is_due() -> None:
    assert Drift(0.1, queries=9, suspicious=9).warning is None
    assert Drift(0.1, queries=10, suspicious=10).warning is not None
    assert Drift(0.1).warning is None
    assert Drift(0.5, queries=100, suspicious=50).warning is None


def test_k_is_at_most_that_of_the_calibration() -> None:
    assert checked_k(5, calibration([1.0])) == 5
    for k, wrong in ((6, "at most 5 results, not 6; calibrate with k=6"), (0, "k must be")):
        with pytest.raises(InvalidInputError, match=wrong):
            checked_k(k, calibration([1.0]))
