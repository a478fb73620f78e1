"""Sources for corpora that record none: a few write much, most write little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ragguard.types import Document

HONEST_SOURCES = 50


def with_sources(documents: Sequence[Document], seed: int = 0) -> list[Document]:
    """Give documents without a source one of fifty, the i-th with a share proportional to 1/i (Zipf's law).

    An attacker's documents come under sources of his own (see `ragguard.attacks.Attack`).

    Args:
        documents: A corpus; documents that name a source keep it.
        seed: Of the draw.
    """
    shares = 1 / np.arange(1, HONEST_SOURCES + 1)
    drawn = np.random.default_rng(seed).choice(HONEST_SOURCES, size=len(documents), p=shares / shares.sum())
    return [
        document if "source" in document.metadata else replace(document, metadata={**document.metadata, "source": f"honest/{i}"})
        for document, i in zip(documents, drawn, strict=True)
    ]
