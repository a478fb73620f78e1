from __future__ import annotations

import os
from pathlib import Path

import pytest

from ragguard.encoders import SentenceTransformerEncoder
from ragguard.testing import WordHashEncoder


@pytest.fixture(scope="session")
def encoder() -> SentenceTransformerEncoder:
    """The real model, loaded once."""
    import torch

    torch.set_num_threads(min(2, os.cpu_count() or 1))
    return SentenceTransformerEncoder.offline(progress=False)


@pytest.fixture
def fake() -> WordHashEncoder:
    return WordHashEncoder()


@pytest.fixture(scope="session")
def data() -> Path:
    """Third-party datasets, which the project does not ship."""
    folder = os.environ.get("RAGGUARD_DATA", "")
    if not folder:
        pytest.skip("RAGGUARD_DATA is not set")
    return Path(folder)
