from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragguard.demo.scenario import DATA
from ragguard.encoders import SentenceTransformerEncoder, offline_model_path
from ragguard.encoders.tokenizing import PROBES, speed_up
from ragguard.evaluation import datasets
from ragguard.evidence import WindowPlan
from ragguard.text import windows

pytestmark = pytest.mark.embeds

TEXTS = [document.text for document in datasets.load(DATA).documents]


@pytest.fixture(scope="module")
def loaded() -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(offline_model_path()), device="cpu", prompts={"query": "query: ", "document": ""})


@pytest.fixture(scope="module")
def prompted(loaded: Any) -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(loaded, progress=False)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value, other[key]) if isinstance(value, torch.Tensor) else value == other[key] for key, value in one.items()
    )


@pytest.mark.parametrize("given_", [{"prompt": None}, {"prompt": "query: "}, {"prompt": "", "task": "document"}])
def test_the_fast_way_gives_what_the_model_gives(prompted: SentenceTransformerEncoder, given_: dict[str, Any]) -> None:
    fast: Any = prompted.model.preprocess
    for texts in (TEXTS[:40], ["short"], [text[:60] for text in TEXTS], list(PROBES)):
        assert same(fast(texts, **given_), fast._slow(texts, **given_))
    assert fast._same[repr(sorted(given_.items()))] is not None  # it was the fast way that was compared


@given(st.lists(st.text(max_size=80), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_gives_the_same(prompted: SentenceTransformerEncoder, texts: list[str]) -> None:
    fast: Any = prompted.model.preprocess
    assert same(fast(texts, prompt=None), fast._slow(texts, prompt=None))


def test_a_text_that_the_model_cuts_is_left_to_it(prompted: SentenceTransformerEncoder) -> None:
    fast: Any = prompted.model.preprocess
    cut = fast(["tower " * 600, "short"], prompt=None)
    assert cut["input_ids"].shape == (2, 256)
    assert same(cut, fast._slow(["tower " * 600, "short"], prompt=None))


def test_a_model_that_tokenises_otherwise_keeps_its_way() -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(offline_model_path()), device="cpu")
    own = model.preprocess
    model.preprocess = lambda texts, **more: own([text[::-1] for text in texts], **more)  # type: ignore[method-assign]
    speed_up(model)
    fast: Any = model.preprocess
    found = fast(["a tower in the north"], prompt=None)
    assert torch.equal(found["input_ids"], own(["htron eht ni rewot a"], prompt=None)["input_ids"])
    assert list(fast._same.values()) == [None]


def test_queries_are_tokenised_while_a_corpus_has_the_turn(encoder: SentenceTransformerEncoder) -> None:
    encoder.encode_query(["the first agrees on the fast way"])
    with speed_up(encoder.model):
        thread = threading.Thread(target=lambda: encoder.encode_query(["a query that nobody asked before"]))
        thread.start()
        thread.join(60)
    assert not thread.is_alive()


@given(st.text(st.characters(max_codepoint=127), max_size=253))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_surely_whole_fits(encoder: SentenceTransformerEncoder, text: str) -> None:
    pieces, _ = encoder._split([text])
    assert "".join(pieces[0]) == text
    tokenizer: Any = encoder.model.tokenizer
    for piece in pieces[0]:
        ids = tokenizer(piece)["input_ids"]
        assert len(ids) <= 256
        assert tokenizer.unk_token_id not in ids


def test_on_a_gpu_short_texts_share_a_batch_and_batches_overlap(encoder: SentenceTransformerEncoder) -> None:
    other = SentenceTransformerEncoder(encoder.model, batch_size=4, progress=False)
    other._ahead = 2  # as on a GPU
    texts = TEXTS[:6] + [TEXTS[0][s.start : s.end] for s in windows(TEXTS[0], WindowPlan.length, WindowPlan.stride)]
    sizes = [len(batch) for batch in other._batches(range(len(texts)), texts)]
    assert sizes[0] == 4
    assert max(sizes) > 4
    assert sum(sizes) == len(texts)
    np.testing.assert_allclose(other.encode_document(texts), encoder.encode_document(texts), atol=1e-5)


def test_an_error_in_one_of_the_batches_ends_them_all(encoder: SentenceTransformerEncoder) -> None:
    other = SentenceTransformerEncoder(encoder.model, batch_size=1, progress=False)
    other._ahead, asked = 2, []

    def fails(batch: list[str], **_: object) -> object:
        asked.append(batch)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        other._encode_pieces(fails, TEXTS[:40])
    assert len(asked) < 40
