from __future__ import annotations

import copy
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, StaticEmbedding, Transformer
from tokenizers import Tokenizer

from ragguard.encoders import OnnxEncoder, SentenceTransformerEncoder, offline_model_path, onnx
from ragguard.errors import DeadlineExceededError, EncoderError, InvalidInputError
from ragguard.evaluation import models
from ragguard.protocols import Encoder
from ragguard.retriever import deadline

pytestmark = pytest.mark.embeds

LONG = " ".join(f"Sentence number {i} speaks of rivers, bridges and trade." for i in range(60))
TEXTS = ["Boats.", "before [MASK] and [SEP] after", "Bonds fell in \u6771\u4eac on Friday.", LONG]


@pytest.fixture(scope="module")
def fp32() -> OnnxEncoder:
    made = models.load("onnx:fp32")
    assert isinstance(made, OnnxEncoder)
    return made


@pytest.fixture(scope="module")
def int8() -> OnnxEncoder:
    return OnnxEncoder.offline(progress=False)


def test_fp32_gives_the_models_own_vectors(encoder: SentenceTransformerEncoder, fp32: OnnxEncoder) -> None:
    assert isinstance(fp32, Encoder)
    np.testing.assert_allclose(fp32.encode_document(TEXTS), encoder.encode_document(TEXTS), atol=1e-5)
    np.testing.assert_allclose(fp32.encode_query(TEXTS), encoder.encode_query(TEXTS), atol=1e-5)
    assert fp32.encode_document([]).shape == (0, fp32.dimension)


def test_int8_is_close(encoder: SentenceTransformerEncoder, int8: OnnxEncoder) -> None:
    vectors = int8.encode_document(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    cosines = (vectors * encoder.encode_document(TEXTS)).sum(axis=1)
    assert 0.96 < cosines.min() < 0.9999


def test_precisions_never_share_a_name(encoder: SentenceTransformerEncoder, fp32: OnnxEncoder, int8: OnnxEncoder) -> None:
    assert len({encoder.name, fp32.name, int8.name}) == 3


def test_the_company_of_a_text_changes_nothing(int8: OnnxEncoder) -> None:
    together = int8.encode_document(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(int8.encode_document([text])[0], vector, atol=1e-6)


def test_the_end_of_a_long_text_counts(int8: OnnxEncoder) -> None:
    query = int8.encode_query(["Where do penguins breed in winter?"])[0]
    before, after = int8.encode_document([LONG, LONG + " Penguins breed on the ice in winter, far from the sea."])
    assert after @ query > before @ query + 0.02


def test_many_threads_same_vectors(int8: OnnxEncoder) -> None:
    queries = [f"question {i} about something" for i in range(16)]
    alone = int8.encode_document(queries)
    with ThreadPoolExecutor(8) as pool:
        for vectors, expected in zip(pool.map(lambda query: int8.encode_query([query]), queries), alone, strict=True):
            np.testing.assert_allclose(vectors[0], expected, atol=1e-6)


def test_work_that_is_given_up_stops(int8: OnnxEncoder) -> None:
    begin = threading.Event()
    work, given_up = deadline.start(lambda: begin.wait() and int8.encode_document(["never asked"]))
    given_up.set()
    begin.set()
    with pytest.raises(DeadlineExceededError):
        work.result(10)


def small(kind: str, folder: Path) -> SentenceTransformer:
    """A model of random weights: CLS pooling, a dense layer, no normalisation, a prompt."""
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    if kind == "DistilBert":
        sizes = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(vocab_size=30522, pad_token_id=0, initializer_range=0.5, **sizes)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(offline_model_path()).save_pretrained(folder)
    first = Transformer(str(folder))
    first.max_seq_length = 100
    return SentenceTransformer(modules=[first, Pooling(32, "cls"), Dense(32, 16)], prompts={"query": "ask: "}, device="cpu")


@pytest.mark.parametrize("kind", ["DistilBert", "MPNet", "Roberta"])
def test_other_transformers_pooled_as_they_say(kind: str, tmp_path: Path) -> None:
    model = small(kind, tmp_path)
    plain, ours = SentenceTransformerEncoder(model), OnnxEncoder(model, precision="fp32")
    one, other = plain.encode_document(["Boats.", "Bonds fell."])
    assert one @ other < 0.99
    np.testing.assert_allclose(ours.encode_document(TEXTS), plain.encode_document(TEXTS), atol=1e-4)
    np.testing.assert_allclose(ours.encode_query(TEXTS), plain.encode_query(TEXTS), atol=1e-4)


def test_a_graph_of_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export = onnx._export

    def damaged(transformer: torch.nn.Module, graph: Path) -> None:
        other = copy.deepcopy(transformer)
        with torch.no_grad():
            next(other.parameters()).mul_(-1)
        export(other, graph)

    monkeypatch.setattr(onnx, "_export", damaged)
    with pytest.raises(EncoderError, match="to the model's own vectors"):
        OnnxEncoder(small("Roberta", tmp_path), precision="fp32")


def test_models_without_a_transformer_are_refused() -> None:
    words = StaticEmbedding(Tokenizer.from_file(str(offline_model_path() / "tokenizer.json")), embedding_dim=8)
    with pytest.raises(EncoderError, match="whose first module is a transformer"):
        OnnxEncoder(SentenceTransformer(modules=[words], device="cpu"))


def test_an_unknown_precision_is_named() -> None:
    with pytest.raises(InvalidInputError, match="'int4'"):
        models.load("onnx:int4")


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "ragguard.encoders.onnx")
    with pytest.raises(ImportError, match=r"ragguard-defense\[onnx\]"):
        import ragguard.encoders.onnx  # noqa: F401
    with pytest.raises(InvalidInputError, match=r"ragguard-defense\[onnx\]"):
        models.load("onnx:int8")
