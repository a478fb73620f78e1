"""Encoders: texts to unit vectors, by a model on this machine, an endpoint, or any function."""

from typing import TYPE_CHECKING

from ragguard.encoders.function import FunctionEncoder
from ragguard.encoders.offline import OFFLINE_MODEL, OFFLINE_SHA256, offline_model_path, verify_weights
from ragguard.encoders.same_model import disagreement, require_same_model
from ragguard.encoders.sentence_transformer import (
    AHEAD,
    CPU_BATCH,
    GPU_BATCH,
    MORE,
    PASSAGE,
    PROGRESS_AFTER_S,
    SentenceTransformerEncoder,
)

if TYPE_CHECKING:
    from ragguard.encoders.onnx import OnnxEncoder as OnnxEncoder
    from ragguard.encoders.openai import OpenAIEncoder as OpenAIEncoder

__all__ = [
    "AHEAD",
    "CPU_BATCH",
    "GPU_BATCH",
    "MORE",
    "OFFLINE_MODEL",
    "OFFLINE_SHA256",
    "PASSAGE",
    "PROGRESS_AFTER_S",
    "FunctionEncoder",
    "SentenceTransformerEncoder",
    "disagreement",
    "offline_model_path",
    "require_same_model",
    "verify_weights",
]


def __getattr__(name: str) -> object:
    if name == "OnnxEncoder":  # needs the extra `onnx`
        from ragguard.encoders.onnx import OnnxEncoder

        return OnnxEncoder
    if name == "OpenAIEncoder":  # needs the extra `openai`
        from ragguard.encoders.openai import OpenAIEncoder

        return OpenAIEncoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
