"""What an index that was built with another model, in another way, or not with vectors at all looks like to an encoder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from ragguard.encoders import OFFLINE_MODEL, OnnxEncoder, SentenceTransformerEncoder, offline_model_path
from ragguard.encoders.same_model import AT_MOST, disagreement
from ragguard.evaluation import datasets, report
from ragguard.protocols import Encoder
from ragguard.types import Document, Hit, Vectors

DOCUMENTS, QUERIES, ASKED, K = 400, 60, 10, 10
"""The corpus, queries, and how many are asked at a time."""


def measure() -> dict[str, Any]:
    """Empty without data."""
    folder = os.environ.get("RAGGUARD_DATA", "")
    if not folder:
        return {}
    found = datasets.load(Path(folder) / "nq_dev")
    documents, queries = found.documents[:DOCUMENTS], list(found.queries.values())[:QUERIES]
    texts = [document.text for document in documents]
    encoder = SentenceTransformerEncoder.offline(progress=False)
    rows = []
    for name, (vectors, asked) in _indexes(encoder, texts, queries).items():
        index = _Index(documents, vectors, dict(zip(queries, asked, strict=True)))
        shares = [disagreement(encoder, index, queries[i : i + ASKED], k=K) for i in range(0, QUERIES, ASKED)]
        rows.append(
            {"index": name, "mean": round(fmean(shares), 3), "least": round(min(shares), 3), "most": round(max(shares), 3)}
        )
        print(rows[-1])
    about = {"documents": DOCUMENTS, "queries": QUERIES, "asked_at_a_time": ASKED, "k": K, "at_most": AT_MOST}
    return report.about(dataset="nq_dev", encoder=OFFLINE_MODEL, **about, indexes=rows)


def _indexes(encoder: Encoder, texts: Sequence[str], queries: Sequence[str]) -> dict[str, tuple[Vectors, Vectors]]:
    """Vectors of documents and queries."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    documents, asked = encoder.encode_document(texts), encoder.encode_query(queries)
    prompts = _model(prompts={"query": "query: ", "document": "passage: "})
    int8 = OnnxEncoder.offline(precision="int8", progress=False)
    words = TfidfVectorizer(sublinear_tf=True).fit(texts)
    of_texts, of_queries = words.transform(texts), words.transform(queries)
    topics = TruncatedSVD(encoder.dimension, random_state=0).fit(of_texts)
    noise = np.random.default_rng(0).normal(size=documents.shape)
    return {
        "the same model": (documents, asked),
        "in fp16": (documents.astype(np.float16).astype(np.float32), asked),
        "in int8": (int8.encode_document(texts), int8.encode_query(queries)),
        "metadata embedded with the text": (
            encoder.encode_document([f"source: wiki/{i % 7}\n\n{t}" for i, t in enumerate(texts)]),
            asked,
        ),
        "other prompts": (prompts.encode_document(texts), prompts.encode_query(queries)),
        **{
            f"without the last {gone} of 6 layers": (
                (short := _model(layers=6 - gone)).encode_document(texts),
                short.encode_query(queries),
            )
            for gone in (1, 2)
        },
        "latent semantic analysis": (topics.transform(of_texts), topics.transform(of_queries)),
        "words, no vectors of a model (tf-idf)": (of_texts.toarray(), of_queries.toarray()),
        "noise": (noise, asked),
    }


def _model(layers: int = 6, prompts: dict[str, str] | None = None) -> SentenceTransformerEncoder:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(offline_model_path()), device="cpu", prompts=prompts)
    transformer: Any = model[0]
    transformer.auto_model.encoder.layer = transformer.auto_model.encoder.layer[:layers]
    return SentenceTransformerEncoder(model, progress=False)


class _Index:
    def __init__(self, documents: Sequence[Document], vectors: Vectors, queries: dict[str, Vectors]) -> None:
        self._documents, self._queries = documents, queries
        self._vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def retrieve(self, query: str, k: int) -> list[Hit]:
        scores = self._vectors @ self._queries[query]
        return [Hit(self._documents[i], float(scores[i])) for i in np.argsort(-scores, kind="stable")[:k]]
