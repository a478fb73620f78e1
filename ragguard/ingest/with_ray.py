"""The workers of an ingestion as actors of Ray Data: on all cores and GPUs of a machine, or of many."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ragguard import errors
from ragguard.errors import InvalidInputError, RAGGuardError
from ragguard.ingest.job import Done, Job, Refusal, Worker
from ragguard.ingest.reading import Part


def work(job: Job, parts: Sequence[Part], workers: int | None = None) -> Iterator[Done]:
    """Have actors build the evidence of all parts, each with an encoder of its own, in any order.

    Each part is cut into the same blocks as by a single worker. Ray's own readers are not used: they guess types from the
    first lines and cannot say which line is wrong. Nothing is reported to Ray's makers, and there is no dashboard.

    Args:
        job: What is to be built.
        parts: Of the files, which all nodes must be able to read.
        workers: Actors; None takes one for each GPU of the cluster, or else for each core.

    Raises:
        InvalidInputError: If Ray is not installed; and as a single worker, with all other errors.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it warns of what Ray Data itself does
    try:
        import ray
        import ray.data
    except ImportError as missing:
        raise InvalidInputError("--engine ray needs Ray: pip install 'ragguard-defense[ray]'") from missing
    if not parts:
        return
    own_cluster = not ray.is_initialized()
    if own_cluster:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        resources = ray.cluster_resources()
        gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        count = min(workers or gpus or cores, len(parts))
        rows = ray.data.from_items([asdict(part) for part in parts], override_num_blocks=len(parts))
        outcomes = rows.map_batches(
            _Actor,
            fn_constructor_kwargs={"job": job},
            batch_size=1,
            concurrency=count,
            num_cpus=1,
            num_gpus=1 / math.ceil(count / gpus) if gpus else None,
        )
        for row in outcomes.iter_rows():
            yield _read(row["outcome"])
    finally:
        if own_cluster:
            ray.shutdown()


class _Actor:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._worker: Worker | None = None

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, list[str]]]:
        """The outcome of each block of one part; errors are outcomes, too, since Ray would try again what cannot work."""
        fields: dict[str, Any] = {name: column.tolist()[0] for name, column in batch.items()}
        part = Part(**fields)
        try:
            self._worker = self._worker or self._job.worker()
            for done in self._worker(part):
                yield {"outcome": [json.dumps(asdict(done))]}
        except RAGGuardError as error:
            yield {"outcome": [json.dumps({"error": type(error).__name__, "message": str(error)})]}


def _read(outcome: str) -> Done:
    fields = json.loads(outcome)
    if "error" in fields:
        raise getattr(errors, fields["error"], RAGGuardError)(fields["message"])
    named = tuple((name, place, content) for name, place, content in fields.pop("named"))
    return Done(named=named, refused=tuple(Refusal(**refusal) for refusal in fields.pop("refused")), **fields)
