from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragguard.testing import WordHashEncoder


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """What a test sets the log to is not what the next one finds."""
    log = logging.getLogger("ragguard")
    level = log.level
    yield
    log.setLevel(level)


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real one."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("there is no Chromium")
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def postgresql(server: Any) -> str:
    """The URL of an empty database."""
    name = f"d{time.monotonic_ns()}"
    server.psql(f"CREATE DATABASE {name};")
    return str(server.get_uri(database=name)).replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A path of an SQLite file, and a URL of PostgreSQL."""
    return str(tmp_path / "evidence.db") if request.param == "sqlite" else str(request.getfixturevalue("postgresql"))
