"""Encoders by the names that the command line knows."""

from __future__ import annotations

from typing import Literal

from ragguard.encoders import SentenceTransformerEncoder, offline_model_path
from ragguard.errors import InvalidInputError
from ragguard.protocols import Encoder

TORCH: dict[str, Literal["float32", "float16"]] = {"fp32": "float32", "fp16": "float16"}


def load(name: str | None) -> Encoder:
    """Load an encoder.

    Args:
        name: Name or path of a sentence-transformers model; None takes the offline one. `onnx:int8` and `onnx:fp32` run the
            offline one on ONNX Runtime, `onnx:int8:NAME` another. `torch:fp16` and `torch:fp16:NAME` run one in half precision,
            which is for GPUs. `openai:NAME` asks an endpoint, which the environment names (OPENAI_BASE_URL, OPENAI_API_KEY).

    Raises:
        InvalidInputError: If the precision is unknown, or ONNX Runtime, OpenAI's client or its key is missing.
        EncoderError: If the model cannot be loaded, or its endpoint does not answer.
    """
    kind, _, rest = (name or "").partition(":")
    if kind == "torch":
        dtype, _, model = rest.partition(":")
        if dtype not in TORCH:
            raise InvalidInputError(f"--model {name}: the precisions of torch are {sorted(TORCH)}, not {dtype!r}")
        return SentenceTransformerEncoder(model or offline_model_path(), dtype=TORCH[dtype], progress=False)
    try:
        if kind == "onnx":
            from ragguard.encoders import OnnxEncoder

            precision, _, model = rest.partition(":")
            return OnnxEncoder(model or offline_model_path(), precision=precision, progress=False)  # type: ignore[arg-type]  # refused there
        if kind == "openai":
            from ragguard.encoders import OpenAIEncoder

            return OpenAIEncoder(rest)
    except ImportError as missing:
        raise InvalidInputError(f"--model {name}: {missing}") from missing
    return SentenceTransformerEncoder(name, progress=False) if name else SentenceTransformerEncoder.offline(progress=False)


def load_weights(name: str | None) -> SentenceTransformerEncoder:
    """Load an encoder whose weights are here, for attacks that know them; otherwise as `load`.

    Raises:
        InvalidInputError: Also if the model is behind an endpoint.
    """
    encoder = load(name)
    if not isinstance(encoder, SentenceTransformerEncoder):
        raise InvalidInputError(f"--model {name}: attacks need a model's weights, and an endpoint keeps them")
    return encoder
