"""Datasets by name: a folder, or a set of BEIR's on the Hugging Face hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ragguard.errors import InvalidInputError
from ragguard.evaluation.datasets import Dataset, load


def find(name: str, folder: Path) -> Dataset:
    """Load a dataset from a folder, or from the hub.

    Args:
        name: A folder in BEIR layout; `beir:scifact` for a set of BEIR's; `hf:owner/name` for any repository with the
            configurations `corpus` and `queries`, whose judgments lie in `owner/name-qrels` (as BEIR's do). A repository may be
            a local copy.
        folder: Where what is downloaded is kept, in BEIR layout.

    Raises:
        InvalidInputError: If there is no such dataset, or it cannot be downloaded.
    """
    kind, _, rest = name.partition(":")
    if kind not in ("beir", "hf"):
        return load(Path(name))
    repository = f"BeIR/{rest}" if kind == "beir" else rest
    kept = folder / repository.strip("/").replace("/", "--")
    if not kept.exists():
        part = kept.with_name(f"{kept.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        try:
            _download(repository, part)
        except Exception as error:
            raise InvalidInputError(f"dataset {name!r} cannot be had: {error}; give a folder in BEIR layout instead") from error
        part.rename(kept)
    return load(kept)


def _download(repository: str, folder: Path) -> None:
    try:
        from datasets import load_dataset
    except ImportError as missing:
        raise InvalidInputError("downloading needs the package datasets: pip install datasets") from missing
    (folder / "qrels").mkdir(parents=True)
    for part in ("corpus", "queries"):
        rows: Iterable[Mapping[str, Any]] = load_dataset(repository, part, split=part)
        with (folder / f"{part}.jsonl").open("w", encoding="utf-8") as out:
            out.writelines(json.dumps(dict(row)) + "\n" for row in rows)
    with (folder / "qrels" / "test.tsv").open("w", encoding="utf-8") as out:
        out.write("query-id\tcorpus-id\tscore\n")
        for row in load_dataset(f"{repository}-qrels", split="test"):
            out.write(f"{row['query-id']}\t{row['corpus-id']}\t{row['score']}\n")
