"""Looks evidence up, and builds what is missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ragguard.encoders.vectors import NORM_TOLERANCE, encode_documents
from ragguard.errors import RAGGuardError, StoreError
from ragguard.protocols import Encoder, EvidencePlan, EvidenceStore
from ragguard.text import content_hash
from ragguard.types import Evidence

BLOCK = 512
"""Texts whose evidence is built before it is stored: what an interruption loses at most."""


class EvidenceBuilder:
    """Looks evidence up, and builds what is missing for many texts in one go."""

    def __init__(self, encoder: Encoder, plan: EvidencePlan, store: EvidenceStore) -> None:
        """Bind an encoder, a plan and a store.

        Args:
            encoder: Embeds the pieces.
            plan: Says which pieces.
            store: Keeps the result by hash of text, encoder and plan.
        """
        self._encoder, self._plan, self._store = encoder, plan, store

    def missing(self, texts: Sequence[str]) -> list[str]:
        """Those of the canonical texts, each once, of which there is no evidence yet."""
        known = zip(texts, self._stored(self._keys(texts)), strict=True)
        return list(dict.fromkeys(text for text, evidence in known if evidence is None))

    def get(self, texts: Sequence[str]) -> list[Evidence]:
        """Evidence of canonical texts, one each, in their order.

        Raises:
            EncoderError: If the encoder fails.
            StoreError: If the store fails, or holds what cannot be evidence of this encoder.
        """
        keys = self._keys(texts)
        known = dict(zip(keys, self._stored(keys), strict=True))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if known[key] is None}
        names = list(missing)
        for start in range(0, len(names), BLOCK):
            block = names[start : start + BLOCK]
            built = self._plan.build([missing[key] for key in block], lambda pieces: encode_documents(self._encoder, pieces))
            self._keep(dict(zip(block, built, strict=True)))
            # As any later query will see it: a store may round. One that is full may have forgotten some.
            kept = zip(self._stored(block), built, strict=True)
            known.update(zip(block, (stored or fresh for stored, fresh in kept), strict=True))
        return [evidence for key in keys if (evidence := known[key]) is not None]

    def prepare(self, texts: Sequence[str]) -> None:
        """Build and store what is missing of any number of texts, a block of them in memory at a time.

        Raises:
            EncoderError: If the encoder fails.
        """
        for start in range(0, len(texts), BLOCK):
            self.get(texts[start : start + BLOCK])

    def _stored(self, keys: Sequence[str]) -> list[Evidence | None]:
        """What the store has, checked: whoever computes with NaN finds nothing suspicious."""
        try:
            stored = self._store.get(keys)
        except RAGGuardError:
            raise
        except Exception as error:
            raise StoreError(f"the store of evidence failed: {error!r}") from error
        if not isinstance(stored, Sequence) or len(stored) != len(keys):
            raise StoreError(f"the store of evidence must return one item for each of {len(keys)} keys, not {stored!r:.100}")
        for key, evidence in zip(keys, stored, strict=True):
            if evidence is not None and not _is_evidence(evidence, self._encoder.dimension):
                raise StoreError(f"the store of evidence returned no evidence of this encoder under {key!r}; delete it there")
        return list(stored)

    def _keep(self, items: dict[str, Evidence]) -> None:
        try:
            self._store.put(items)
        except RAGGuardError:
            raise
        except Exception as error:
            raise StoreError(f"the store of evidence failed: {error!r}") from error

    def _keys(self, texts: Sequence[str]) -> list[str]:
        prefix = f"{self._encoder.name}|{self._plan.key}|"
        return [prefix + content_hash(text) for text in texts]


def _is_evidence(item: object, dimension: int) -> bool:
    if not isinstance(item, Evidence) or item.vectors.shape != (len(item.spans), dimension):
        return False
    squares = np.einsum("ij,ij->i", item.vectors, item.vectors)
    return bool((np.abs(squares - 1) <= 2 * NORM_TOLERANCE).all())
