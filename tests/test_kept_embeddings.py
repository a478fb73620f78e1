"""What tests look up is what would be embedded anew: whatever a vector depends on is in the name that it is kept under."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import normalizers

from ragguard.encoders import offline_model_path

TEXTS = ["Copper roofs turn green.", "BREAD needs salt.", "Copper roofs turn green."]


def lower(model: Any) -> None:
    model.tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.Replace("a", "o"), normalizers.Lowercase()])


def change_weights(model: Any) -> None:
    with torch.no_grad():
        model[0].auto_model.embeddings.word_embeddings.weight.mul_(-1)


CHANGES: dict[str, Callable[[Any], object]] = {
    "weights in place": change_weights,
    "the tokenizer's steps": lower,
    "a prompt": lambda model: model.prompts.update(document="passage: "),
    "the length that is read": lambda model: setattr(model, "max_seq_length", 4),
    "the number of dimensions": lambda model: setattr(model, "truncate_dim", 64),
}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("RAGGUARD_TEST_EMBEDDINGS", str(tmp_path))
    return SentenceTransformer(str(offline_model_path()), device="cpu")


def test_what_is_looked_up_is_what_was_embedded(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = model.encode_document(TEXTS)
    assert [path.suffix for path in tmp_path.iterdir()] == [".sqlite"]
    monkeypatch.setattr(model, "forward", lambda *_, **__: pytest.fail("it was embedded before"))
    assert np.array_equal(model.encode_document(list(reversed(TEXTS))), first[::-1])


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_model_finds_nothing(model: Any, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = model.encode_document(TEXTS)
    CHANGES[change](model)
    found = model.encode_document(TEXTS)
    monkeypatch.setenv("RAGGUARD_TEST_EMBEDDINGS", "")
    fresh = model.encode_document(TEXTS)
    assert found.shape == fresh.shape
    assert np.allclose(found, fresh, atol=1e-5)
    assert before.shape != fresh.shape or not np.allclose(before, fresh, atol=1e-3)
