from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from ragguard.encoders import OFFLINE_SHA256, SentenceTransformerEncoder, offline_model_path, verify_weights
from ragguard.errors import EncoderError, InvalidInputError, ModelIntegrityError
from ragguard.protocols import Encoder

pytestmark = pytest.mark.embeds

LONG = " ".join(f"Sentence number {i} speaks of rivers, bridges and trade." for i in range(60))


def test_it_is_an_encoder_of_unit_vectors(encoder: SentenceTransformerEncoder) -> None:
    assert isinstance(encoder, Encoder)
    vectors = encoder.encode_document(["A cat sat on a mat.", "Bonds fell.", LONG])
    assert vectors.shape == (3, encoder.dimension) == (3, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert encoder.encode_document([]).shape == (0, 384)


def test_vectors_do_not_depend_on_the_company(encoder: SentenceTransformerEncoder) -> None:
    texts = ["short", "a somewhat longer text about boats", LONG]
    together = encoder.encode_document(texts)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(encoder.encode_document([text])[0], vector, atol=1e-5)


def test_it_agrees_with_sentence_transformers_on_ordinary_text(encoder: SentenceTransformerEncoder) -> None:
    from sentence_transformers import SentenceTransformer

    plain = SentenceTransformer(str(offline_model_path()), device="cpu")
    texts = ["How tall is the tower?", "The tower is 300 metres tall."]
    np.testing.assert_allclose(encoder.encode_document(texts), plain.encode(texts, normalize_embeddings=True), atol=1e-5)


def test_the_end_of_a_long_text_counts(encoder: SentenceTransformerEncoder) -> None:
    ending = " Penguins breed on the ice in winter, far from the sea."
    query = encoder.encode_query(["Where do penguins breed in winter?"])[0]
    before, after = encoder.encode_document([LONG, LONG + ending])
    assert after @ query > before @ query + 0.02


def test_a_long_text_is_the_weighted_mean_of_whole_pieces(encoder: SentenceTransformerEncoder) -> None:
    pieces, weights = encoder._split([LONG])
    assert len(pieces[0]) > 1
    assert "".join(pieces[0]) == LONG
    tokenizer = encoder._model.tokenizer
    for piece in pieces[0]:
        assert len(tokenizer(piece)["input_ids"]) <= 256
    mean = (encoder.encode_document(pieces[0]) * weights[0][:, None]).sum(axis=0)
    np.testing.assert_allclose(encoder.encode_document([LONG])[0], mean / np.linalg.norm(mean), atol=1e-5)


@pytest.mark.parametrize("special", ["[MASK]", "[SEP]", "[CLS]", "[PAD]", "[UNK]"])
def test_special_tokens_in_a_text_are_text(encoder: SentenceTransformerEncoder, special: str) -> None:
    tokenizer = encoder._model.tokenizer
    ids = tokenizer(f"before {special} after")["input_ids"]
    assert tokenizer.convert_tokens_to_ids(special) not in ids[1:-1]


@pytest.mark.parametrize("text", ["word " * 200_000, "a" * 1_000_000, "\u6771" * 20_000], ids=["spaces", "no-spaces", "chinese"])
def test_a_megabyte_of_text_is_cut_into_pieces_that_fit(encoder: SentenceTransformerEncoder, text: str) -> None:
    pieces, _ = encoder._split([text])
    assert "".join(pieces[0]).replace(" ", "") == text.replace(" ", "")
    tokenizer = encoder._model.tokenizer
    for piece in (pieces[0][0], pieces[0][len(pieces[0]) // 2], pieces[0][-1]):
        ids = tokenizer(piece)["input_ids"]
        assert len(ids) <= 256
        assert tokenizer.unk_token_id not in ids


def test_prompts_are_applied_to_queries_and_documents_apart() -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(offline_model_path()), device="cpu", prompts={"query": "query: ", "document": "passage: "})
    prompted = SentenceTransformerEncoder(model)
    plain = SentenceTransformerEncoder(offline_model_path(), device="cpu")
    np.testing.assert_allclose(prompted.encode_query(["x y"]), plain.encode_document(["query: x y"]), atol=1e-5)
    np.testing.assert_allclose(prompted.encode_document(["x y"]), plain.encode_document(["passage: x y"]), atol=1e-5)
    pieces, _ = prompted._split([LONG])
    assert all(len(model.tokenizer("passage: " + piece)["input_ids"]) <= 256 for piece in pieces[0])


def test_half_precision_is_close_and_named_apart(encoder: SentenceTransformerEncoder) -> None:
    half = SentenceTransformerEncoder.offline(dtype="float16", device="cpu")
    texts = ["The tower is 300 metres tall."]
    assert float((half.encode_document(texts) * encoder.encode_document(texts)).sum()) > 0.999
    assert half.encode_document(texts).dtype == np.float32
    assert half.name != encoder.name


def test_many_threads_same_vectors(encoder: SentenceTransformerEncoder) -> None:
    queries = [f"question {i} about something" for i in range(16)]
    alone = [encoder.encode_query([query])[0] for query in queries]
    fresh = SentenceTransformerEncoder(encoder._model)
    with ThreadPoolExecutor(8) as pool:
        for i, vectors in enumerate(pool.map(lambda q: fresh.encode_query([q]), queries)):
            np.testing.assert_allclose(vectors[0], alone[i], atol=1e-6)


def test_a_remembered_query_cannot_be_changed_by_its_user(encoder: SentenceTransformerEncoder) -> None:
    with pytest.raises(ValueError, match="read-only"):
        encoder.encode_query(["the same"])[0][0] = 1.0


def test_weights_are_verified_before_they_are_read(tmp_path: Path) -> None:
    copy = tmp_path / "model.safetensors"
    shutil.copy(offline_model_path() / "model.safetensors", copy)
    verify_weights(copy, OFFLINE_SHA256)
    with copy.open("r+b") as file:
        file.seek(1_000_000)
        byte = file.read(1)
        file.seek(1_000_000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(ModelIntegrityError, match="sha256"):
        verify_weights(copy, OFFLINE_SHA256)
    with pytest.raises(ModelIntegrityError, match="cannot be read"):
        verify_weights(tmp_path / "missing", OFFLINE_SHA256)


def test_bad_settings_are_named() -> None:
    with pytest.raises(EncoderError, match="no-such-model-anywhere"):
        SentenceTransformerEncoder("./no-such-model-anywhere")
    with pytest.raises(InvalidInputError, match="batch_size"):
        SentenceTransformerEncoder("any", batch_size=0)
    with pytest.raises(InvalidInputError, match="dtype"):
        SentenceTransformerEncoder("any", dtype="int8")  # type: ignore[arg-type]


def test_only_strings_are_encoded(encoder: SentenceTransformerEncoder) -> None:
    with pytest.raises(InvalidInputError, match="text 1 must be a string"):
        encoder.encode_document(["fine", None])  # type: ignore[list-item]


@pytest.mark.parametrize("text", ["\uac01" * 254, "\uac01\ub098 " * 100, "\u1f82" * 200], ids=["korean", "korean-words", "greek"])
def test_characters_of_several_tokens_are_not_cut_off(encoder: SentenceTransformerEncoder, text: str) -> None:
    pieces, _ = encoder._split([text])
    assert "".join(pieces[0]).replace(" ", "") == text.replace(" ", "")
    tokenizer = encoder._model.tokenizer
    for piece in pieces[0]:
        ids = tokenizer(piece)["input_ids"]
        assert len(ids) <= 256
        assert tokenizer.unk_token_id not in ids
    before, after = encoder.encode_document([text, text + " penguins breed on the ice in winter"])
    assert float(before @ after) < 0.999


def test_two_models_never_share_a_name(encoder: SentenceTransformerEncoder) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    other = SentenceTransformer(str(offline_model_path()), device="cpu")
    assert SentenceTransformerEncoder(other).name == encoder.name
    with torch.no_grad():
        next(other.parameters())[0, 0] += 1
    assert SentenceTransformerEncoder(other).name != encoder.name
    shorter = SentenceTransformer(str(offline_model_path()), device="cpu")
    shorter.max_seq_length = 128
    assert SentenceTransformerEncoder(shorter).name != encoder.name


def test_a_query_does_not_wait_for_a_corpus(encoder: SentenceTransformerEncoder) -> None:
    bulk = threading.Thread(target=encoder.encode_document, args=([f"{LONG[:1000]} {i}" for i in range(160)],))
    bulk.start()
    for i in range(3):  # ten batches: each query may wait for two
        encoder.encode_query([f"question {i} that nobody asked before"])
    assert bulk.is_alive()
    bulk.join()


def test_work_given_up_at_a_deadline_does_not_abort_the_interpreter() -> None:
    code = """
from ragguard import *
encoder = SentenceTransformerEncoder.offline(progress=False)
index = DenseIndex(encoder)
index.add([Document(f"d{i}", f"document {i} " + "about rivers and bridges " * 60) for i in range(20)])
try:
    GuardedRetriever(index, [RAGMask(encoder)], GuardPolicy(deadline_s=0.3)).retrieve("rivers", 5)
except TimeoutError:
    print("late")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "late\n"


def test_a_model_that_gives_fewer_dimensions_has_another_name(encoder: SentenceTransformerEncoder) -> None:
    shorter = SentenceTransformerEncoder(SentenceTransformer(str(offline_model_path()), truncate_dim=64), progress=False)
    assert shorter.dimension == 64
    assert shorter.name != encoder.name
