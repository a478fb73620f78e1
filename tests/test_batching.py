from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ragguard.encoders import SentenceTransformerEncoder, batching
from ragguard.encoders.batching import Together
from ragguard.errors import EncoderError, InvalidInputError
from ragguard.types import Vectors

pytestmark = pytest.mark.embeds


class Slow:
    """Tells what it was asked for at a time."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.at_work = 0

    def __call__(self, texts: Sequence[str]) -> Vectors:
        self.at_work += 1
        assert self.at_work == 1 or len(texts) == 1
        self.batches.append(list(texts))
        time.sleep(0.02)
        self.at_work -= 1
        if "bad" in texts:
            raise EncoderError("no vector")
        return np.array([[float(text)] for text in texts], dtype=np.float32)


def test_those_who_wait_are_encoded_in_one_go_and_get_their_own() -> None:
    slow = Slow()
    one = Together(slow)
    assert one("7").tolist() == [7.0]
    assert slow.batches == [["7"]]
    with ThreadPoolExecutor(64) as pool:
        found = list(pool.map(one, map(str, range(64))))
    assert [vector.tolist() for vector in found] == [[float(i)] for i in range(64)]
    assert len(slow.batches) < 20
    assert max(map(len, slow.batches)) <= batching.MOST


def test_an_error_is_that_of_its_text_alone() -> None:
    slow = Slow()
    one = Together(slow)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(one, text) for text in ("1", "bad", "2", "3", "bad", "4")]
    for text, future in zip(("1", "bad", "2", "3", "bad", "4"), asked, strict=True):
        if text == "bad":
            with pytest.raises(EncoderError, match="no vector"):
                future.result()
        else:
            assert future.result().tolist() == [float(text)]
    assert one("5").tolist() == [5.0]


def test_an_interrupt_leaves_nobody_waiting() -> None:
    entered, go_on = threading.Event(), threading.Event()

    def interrupted(texts: Sequence[str]) -> Vectors:
        if not entered.is_set():
            entered.set()
            go_on.wait(10)
            raise KeyboardInterrupt
        return np.zeros((len(texts), 1), dtype=np.float32)

    one = Together(interrupted)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(one, "a")
        entered.wait(10)
        second = pool.submit(one, "b")
        go_on.set()
        assert second.result(10).tolist() == [0.0]
        with pytest.raises(KeyboardInterrupt):
            first.result(10)


def test_a_query_has_the_vector_it_has_alone(encoder: SentenceTransformerEncoder) -> None:
    queries = [f"question {i} about " + "rivers and bridges " * (i % 5) for i in range(24)]
    fresh = SentenceTransformerEncoder(encoder.model, progress=False)
    with ThreadPoolExecutor(24) as pool:
        for query, vectors in zip(queries, pool.map(lambda query: fresh.encode_query([query]), queries), strict=True):
            np.testing.assert_allclose(vectors[0], encoder.encode_document([query])[0], atol=1e-6)
    with pytest.raises(InvalidInputError, match="must be a string"):
        fresh.encode_query([3])  # type: ignore[list-item]
