"""A static embedding distilled from the encoder, as a retriever that reads words one by one (model2vec)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ragguard.encoders import SentenceTransformerEncoder
from ragguard.errors import InvalidInputError

DIMENSION = 256
"""Of the static vectors: model2vec's own default."""


def distilled(encoder: SentenceTransformerEncoder, folder: Path) -> SentenceTransformerEncoder:
    """The static encoder of a model: every token's embedding by the model, reduced by PCA and weighted by rarity.

    Args:
        encoder: The model; distilling all-MiniLM-L6-v2 takes two minutes on two cores.
        folder: Where the distilled model is kept, by the model's fingerprint.

    Raises:
        InvalidInputError: If model2vec is not installed.
    """
    kept = folder / f"static-{encoder.name.replace('@', '-')}"
    if not kept.exists():
        try:
            from model2vec.distill import distill_from_model
        except ImportError as missing:
            raise InvalidInputError(
                "distilling needs model2vec and skeletoken; without --no-deps they would bring an older transformers: "
                "pip install --no-deps model2vec skeletoken"
            ) from missing
        transformer: Any = encoder.model[0]
        model = distill_from_model(transformer.auto_model, transformer.tokenizer, pca_dims=DIMENSION, device=encoder.device)
        part = kept.with_name(f"{kept.name}.part")
        model.save_pretrained(part)
        os.replace(part, kept)
    return SentenceTransformerEncoder(kept, device=encoder.device, progress=False)
