from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ragguard.types import Certificate, Document, Evidence, GuardedResult, Hit, Span, Verdict

A, B, C = (Hit(Document(name, f"text {name}"), score) for name, score in (("a", 0.9), ("b", 0.8), ("c", 0.7)))


def test_everything_that_flows_is_frozen_and_documented() -> None:
    for kind in (Certificate, Document, Evidence, GuardedResult, Hit, Span, Verdict):
        assert dataclasses.fields(kind)
        for field in dataclasses.fields(kind):
            assert f"{field.name}:" in (kind.__doc__ or ""), f"{kind.__name__}.{field.name} is not documented"
    with pytest.raises(dataclasses.FrozenInstanceError):
        A.score = 1.0  # type: ignore[misc]


def test_a_result_is_the_sequence_of_what_was_kept() -> None:
    result = GuardedResult("q", 2, candidates=(A, B, C), kept=(A, C), removed=(B,))
    assert list(result) == [A, C]
    assert len(result) == 2
    assert result[0] == A
    assert result[:1] == (A,)
    assert A in result


def test_lost_is_what_the_undefended_top_k_had() -> None:
    result = GuardedResult("q", 2, candidates=(A, B, C), kept=(A, C), removed=(B,))
    assert result.lost == (B,)


def test_gram_is_computed_once() -> None:
    evidence = Evidence(((Span(0, 1),),) * 2, np.eye(2, dtype=np.float32))
    assert evidence.gram is evidence.gram
    np.testing.assert_array_equal(evidence.gram, np.eye(2))
