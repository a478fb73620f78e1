"""The documentation's programs run and print what the pages say, and the site is built without a warning."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from benchmarks import concept_pictures
from ragguard.encoders import SentenceTransformerEncoder
from ragguard.evaluation.cache import CachedEncoder

mpl.use("Agg")
ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
START = "start.md"
RUN = (
    "audit.md",
    "certificates.md",
    "howto/callable.md",
    "howto/haystack.md",
    "howto/langchain.md",
    "howto/llama-index.md",
    "operations.md",
    "tuning.md",
)
"""Pages that go on from `START`: what they do not define is what it defined."""

BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\s*^```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
"""A program, and what it prints, where the page says that."""


def run(page: str, names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Run the programs of a page one after another, as its reader does."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = list(BLOCK.finditer(text))
    assert found
    for block in found:
        line = text[: block.start(1)].count("\n")
        capsys.readouterr()
        exec(compile("\n" * line + block[1], str(DOCS / page), "exec"), names)  # noqa: S102
        printed = capsys.readouterr().out
        assert (block[2] is not None) == bool(printed), f"{page}, line {line}: the page does not say what this prints:\n{printed}"
        assert (block[2] or "") == printed, f"{page}, line {line}"


@pytest.fixture(scope="module")
def cached(encoder: SentenceTransformerEncoder) -> CachedEncoder:
    """The real model; what one page embeds, the next does not."""
    return CachedEncoder(encoder)


@pytest.fixture(autouse=True)
def _as_a_reader(cached: CachedEncoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(SentenceTransformerEncoder, "offline", lambda: cached)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def names(started: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What a reader of `START` has, once it has run."""
    if not started:
        run(START, started, capsys)
    return dict(started)


@pytest.fixture(scope="module")
def started() -> dict[str, Any]:
    return {}


def test_the_first_page_shows_an_attack_and_ends_it(names: dict[str, Any]) -> None:
    assert names["planted"] in [hit.document for hit in names["index"].retrieve(names["question"], 3)]
    assert names["planted"] not in [hit.document for hit in names["result"]]


@pytest.mark.parametrize("page", RUN)
def test_a_page_that_goes_on_from_it(page: str, names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    run(page, names, capsys)


NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def test_the_pictures_are_of_that_attack(names: dict[str, Any]) -> None:
    made = concept_pictures.draw(names["encoder"], names["defenses"][0], names["result"], names["planted"])
    assert made.keys() == {path.name for path in concept_pictures.FOLDER.iterdir()}
    for name, picture in made.items():
        committed = (concept_pictures.FOLDER / name).read_text(encoding="utf-8")
        assert NUMBER.sub("0", picture) == NUMBER.sub("0", committed), name
        drawn, kept = ([float(number) for number in NUMBER.findall(one)] for one in (picture, committed))
        assert np.allclose(drawn, kept, atol=1.5), name  # pixels: processors differ in the last bits of a vector


def test_the_notebook_computes_and_draws_what_was_committed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ROOT / "examples" / "attack_seen.ipynb"
    drawn: list[int] = []
    monkeypatch.setenv("TQDM_DISABLE", "1")  # as its first cell does: restored here
    monkeypatch.setattr(plt, "show", lambda: drawn.append(1))
    names: dict[str, Any] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            drawn.clear()
            exec(compile("".join(cell["source"]), str(path), "exec"), names)  # noqa: S102
            texts = ["".join(one["text"]) for one in cell["outputs"] if one["output_type"] == "stream"]
            pictures = [one["data"]["image/png"] for one in cell["outputs"] if one["output_type"] == "display_data"]
            assert capsys.readouterr().out == "".join(texts)
            assert len(drawn) == len(pictures)
    plt.close("all")


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0, done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"""<(?:script|img|link)[^>]*(?:src|href)="(?:https?:)?//""", text), f"{page} asks another server"
