"""What all tests share, of the package and of its integrations."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "tests" / "kept_embeddings"
KEPT = Path(os.environ.get("RAGGUARD_TEST_CACHE") or Path.home() / ".cache" / "ragguard-tests")
"""Embeddings of earlier runs; may be deleted at any time."""

FOLDER = "RAGGUARD_TEST_EMBEDDINGS"


def pytest_configure() -> None:
    """Keep embeddings in this process, and in those that it starts."""
    os.environ[FOLDER] = str(KEPT)
    known = os.environ.get("PYTHONPATH", "")
    if str(HERE) not in known.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HERE), known)))
        sys.path.insert(0, str(HERE))
    import kept_embeddings  # noqa: F401  # this process has started without it


@pytest.fixture(autouse=True, scope="module")
def _embeddings_kept_or_not(request: pytest.FixtureRequest) -> Iterator[None]:
    """A module with the mark `embeds` is about embedding itself, and nothing is looked up for it."""
    if request.node.get_closest_marker("embeds") is None:
        yield
        return
    folder = os.environ.pop(FOLDER)
    yield
    os.environ[FOLDER] = folder
