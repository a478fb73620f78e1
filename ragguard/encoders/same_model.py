"""Whether an encoder is the model that an index was built with, seen by how the index ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ragguard.checks import an_encoder, positive, query_text
from ragguard.encoders.vectors import encode_documents, encode_one_query
from ragguard.errors import EncoderError, InvalidInputError, RAGGuardError, RetrieverError
from ragguard.protocols import Encoder, Retriever
from ragguard.text import canonical

NEAR = 0.02
"""Cosines nearer to each other than this may come in any order: fp16 and int8 indexes round by less."""

AT_MOST = 0.15
"""Share of the other pairs that may be in the wrong order (`benchmarks/results/same_model.json`): of ten queries
at most .01 in int8, .06 where the index embeds metadata with the text, .09 with other prompts; at least .21 for other models."""

LEAST = 50
"""Pairs to see that on, at least."""


def disagreement(encoder: Encoder, retriever: Retriever, queries: Sequence[str], *, k: int = 10) -> float:
    """The share of pairs of hits that an encoder would have ranked the other way round.

    Scores are not looked at, since stores give cosines, products, distances, or none: only what comes before what.

    Args:
        encoder: The one that the guard will have.
        retriever: Over the index, by vectors alone: what ranks by words, too, or again, ranks otherwise whatever the encoder is.
        queries: Some, like those that users ask; ten will do.
        k: Hits of each that are compared.

    Returns:
        0 where the encoder agrees with all, about .5 where it has nothing to do with the index. Of pairs whose cosines differ by
        more than .02.

    Raises:
        InvalidInputError: If there are fewer than 50 such pairs, or `encoder` is none.
        RetrieverError: If the retriever raises, as most do when a query's vector has another dimension than the index.
        EncoderError: If the encoder fails.
    """
    an_encoder(encoder)
    rankings: dict[str, list[str]] = {}
    for query in map(query_text, queries):
        try:
            hits = retriever.retrieve(query, positive(k))
        except RAGGuardError:
            raise
        except Exception as error:
            raise RetrieverError(f"the retriever failed: {error!r}") from error
        rankings[query] = [text for hit in hits if (text := canonical(hit.document.text).text).strip()]
    texts = list({text: None for ranked in rankings.values() for text in ranked})
    vectors = dict(zip(texts, encode_documents(encoder, texts), strict=True))  # in large batches
    against = pairs = 0
    for query, ranked in rankings.items():
        vector = encode_one_query(encoder, query)
        cosines = np.array([vectors[text] @ vector for text in ranked])
        later, earlier = np.tril_indices(len(ranked), -1)
        rise = cosines[later] - cosines[earlier]
        against += int((rise > NEAR).sum())
        pairs += int((np.abs(rise) > NEAR).sum())
    if pairs < LEAST:
        raise InvalidInputError(
            f"{pairs} pairs of hits are too few to tell models apart by; give more queries, at least {LEAST} pairs"
        )
    return against / pairs


def require_same_model(encoder: Encoder, retriever: Retriever, queries: Sequence[str], *, k: int = 10) -> None:
    """Refuse an encoder that an index was not built with; arguments and errors are those of `disagreement`.

    Raises:
        EncoderError: If more than .15 of the pairs are the other way round.
    """
    share = disagreement(encoder, retriever, queries, k=k)
    if share > AT_MOST:
        raise EncoderError(
            f"encoder {encoder.name!r} would rank {share:.0%} of the pairs of hits the other way round: the index was built with "
            "another model, or does not rank by vectors alone; take the encoder of the index"
        )
