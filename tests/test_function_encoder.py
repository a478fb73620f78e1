from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ragguard.defenses import RAGMask
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.encoders.function import LENGTHS, FunctionEncoder, _pieces
from ragguard.errors import DeadlineExceededError, EncoderError, InvalidInputError
from ragguard.protocols import Encoder
from ragguard.retriever import deadline
from ragguard.testing import WordHashEncoder

WORDS = WordHashEncoder()
TEXTS = ["The tower is 300 metres tall.", "Bonds fell on Friday.", ""]


def of_words(texts: list[str]) -> object:
    """Of any norm, as lists."""
    return (3 * WORDS.encode_document(texts)).tolist()


def reading(characters: int) -> Callable[[list[str]], object]:
    """What cuts texts off, as small models do."""
    return lambda texts: of_words([text[:characters] for text in texts])


def test_vectors_are_the_functions_own_of_unit_norm() -> None:
    made = FunctionEncoder(of_words)
    assert isinstance(made, Encoder)
    assert made.dimension == 128
    np.testing.assert_allclose(made.encode_document(TEXTS), WORDS.encode_document(TEXTS), atol=1e-6)
    np.testing.assert_allclose(made.encode_query(TEXTS), WORDS.encode_document(TEXTS), atol=1e-6)
    assert made.encode_document([]).shape == made.encode_query([]).shape == (0, 128)
    assert made.encode_document(TEXTS).dtype == np.float32
    RAGMask(made)


def test_a_query_is_asked_for_once_and_by_its_own_function() -> None:
    asked: list[str] = []

    def query(text: str) -> object:
        asked.append(text)
        return WORDS.encode_document([f"query: {text}"])[0]

    made = FunctionEncoder(of_words, query)
    asked.clear()
    for _ in range(3):
        vectors = made.encode_query(["one", "two"])
    assert asked == ["one", "two"]
    np.testing.assert_allclose(vectors, WORDS.encode_document(["query: one", "query: two"]), atol=1e-6)


def test_texts_are_handed_over_in_batches() -> None:
    sizes: list[tuple[int, int]] = []

    def embed(texts: list[str]) -> object:
        sizes.append((len(texts), sum(map(len, texts))))
        return of_words(texts)

    made = FunctionEncoder(embed, longest=8000, batch_size=50)
    sizes.clear()
    texts = [f"text {i}" for i in range(120)]
    np.testing.assert_allclose(made.encode_document(texts), WORDS.encode_document(texts), atol=1e-6)
    assert [count for count, _ in sizes] == [50, 50, 20]
    sizes.clear()
    made.encode_document(["word " * 1500] * 50)
    assert [count for count, _ in sizes] == [33, 17]
    assert max(characters for _, characters in sizes) <= 250_000


@pytest.mark.parametrize("longest", LENGTHS)
def test_how_much_is_read_is_found_out(longest: int) -> None:
    made = FunctionEncoder(reading(longest), name="mine")
    assert made.longest == longest
    assert made.name == f"mine:{longest}"
    text = "rivers and bridges " * 1000
    before, after = made.encode_document([text, text + "penguins breed on the ice in winter " * 200])
    assert float(before @ after) < 0.999


def test_what_refuses_long_texts_is_asked_for_shorter_ones() -> None:
    def embed(texts: list[str]) -> object:
        if max(map(len, texts)) > 3000:
            raise RuntimeError("maximum context length")
        return of_words(texts)

    assert FunctionEncoder(embed).longest == 2000
    with pytest.raises(EncoderError, match="whatever they end with"):
        FunctionEncoder(reading(100))


@pytest.mark.parametrize("text", ["word " * 5000, "a" * 100_003, "\u6771" * 9_999, "a" * 1000 + " ", ""])
def test_pieces_are_the_text_and_none_is_too_long(text: str) -> None:
    pieces = _pieces(text, 1000)
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= 1000
    assert len(text) < 1000 or min(map(len, pieces)) > 1
    assert all(piece.endswith(" ") for piece in pieces) or " " not in text.strip()


def test_a_real_model_is_told_apart_and_cut_where_it_stops_reading(encoder: SentenceTransformerEncoder) -> None:
    bare = encoder.model
    made = FunctionEncoder(lambda texts: bare.encode_document(texts), lambda text: bare.encode_query([text])[0])
    assert made.longest == 1000  # of 256 tokens
    short = ["The tower is 300 metres tall.", "Bonds fell on Friday."]
    np.testing.assert_allclose(made.encode_document(short), encoder.encode_document(short), atol=1e-5)
    long = "The harbour of the old town is deep. " * 100
    assert float((made.encode_document([long]) @ encoder.encode_document([long]).T).item()) > 0.98
    noisy = FunctionEncoder(lambda texts: bare.encode_document(texts) * (1 + 1e-7))
    assert noisy.name == made.name
    assert noisy.name != FunctionEncoder(of_words).name


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "no vectors"),
        ([], "no vectors"),
        ([[]], "no vectors"),
        ([1.0, 2.0], "no vectors"),
        ("vectors", "not an array"),
        ([[1.0], [1.0, 2.0]], "not an array"),
        ([[float("nan")] * 128], "NaN"),
        ([[float("inf")] * 128], "NaN or infinite"),
        ([[0.0] * 128], "norm 0"),
        ([[1.0] * 128] * 2, "shape"),
        ([[1.0] * 64], "shape"),
        (ConnectionError("gone"), "gone"),
        (ValueError("its own"), "failed on 1 texts.*its own"),
    ],
)
def test_what_are_no_vectors_is_a_typed_error(given: Any, said: str) -> None:
    wrong = False

    def embed(texts: list[str]) -> object:
        if wrong and isinstance(given, Exception):
            raise given
        return given if wrong else of_words(texts)

    made = FunctionEncoder(embed)
    wrong = True
    with pytest.raises(EncoderError, match=said):
        made.encode_document(["text"])
    if given not in ([[1.0] * 64],):  # as good as any at first
        with pytest.raises(EncoderError):
            FunctionEncoder(embed)


def test_settings_and_texts_are_checked() -> None:
    for settings in ({"longest": -1}, {"batch_size": 0}):
        with pytest.raises(InvalidInputError, match="at least 1"):
            FunctionEncoder(of_words, **settings)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="text 1 must be a string"):
        FunctionEncoder(of_words).encode_document(["fine", None])  # type: ignore[list-item]


def test_work_that_was_given_up_stops_between_batches() -> None:
    made = FunctionEncoder(of_words, batch_size=1)
    batches = 0

    def work() -> None:
        nonlocal batches
        give_up.set()
        made.encode_document(["a", "b"])
        batches += 1

    import time

    def later() -> None:
        time.sleep(0.05)
        work()

    future, give_up = deadline.start(later)
    with pytest.raises(DeadlineExceededError):
        future.result(5)
    assert not batches
