"""The default guard and what each of its signals adds: splits into fit, calibration and evaluation queries, repeated and pooled.

Every attack is asked once, of a guard that only flags and so tells every signal of every candidate. What it would have done with
the same candidates under other calibrations, losses and signals is computed from these, by its own functions.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.compare_defenses import CACHE, CARRIERS, HIDDEN, ON_TOPIC, OPTIMISED, PARAPHRASE, PARAPHRASES, WORDS
from ragguard.attacks.base import TARGET, Budget, Target
from ragguard.calibration import Calibration, parts, scale, suspicions
from ragguard.defenses import SIGNALS
from ragguard.encoders import OFFLINE_MODEL, SentenceTransformerEncoder
from ragguard.evaluation import datasets, report
from ragguard.evaluation.cache import CachedEncoder, TextCache
from ragguard.evaluation.experiment import Experiment, System, Trial
from ragguard.evaluation.metrics import interval
from ragguard.evaluation.registry import OVERFETCH, Bench, build_attacks, build_system
from ragguard.evaluation.sources import with_sources
from ragguard.index import DenseIndex
from ragguard.signals import Flood, Signal
from ragguard.types import Document, GuardedResult

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "results"
K, TARGETS, SPLITS, LOSS, SEED = 10, 20, 20, 0.02, 0
LOSSES = (0.02, 0.05, 0.1, 0.2)
MOST, LEFT = 600, 5
"""Queries of a split that calibrate, at most, and that are left to evaluate with the targets, at least."""

PARAPHRASED = (PARAPHRASE.replace(", 'end'", ""), PARAPHRASE.replace("'front', 'end'", "'middle'"), PARAPHRASE)
SIMPLE = (*WORDS, "poisonedrag")
ATTACKS: dict[str, Sequence[str]] = {
    "nq_dev": (
        *WORDS,
        *CARRIERS,
        *HIDDEN,
        PARAPHRASE,
        PARAPHRASE.replace(", 'end'", ""),
        *OPTIMISED,
        "adaptive-ragmask",
        *ON_TOPIC,
    ),
    "hotpot_dev": SIMPLE,
    "msmarco_dev": SIMPLE,
    "scifact": WORDS,
}
FLOOD = "texts(attack='poisonedrag-llm:gpt4')"
"""Planted with three documents a query as the others, and with five: then agreement gives it away."""
DIRTY = "texts(attack='garag-typo')"
"""Genuine passages full of typing errors, one a query. No poison: a rate below undefended is what the guard costs."""
DEFAULT = tuple(signal.name for signal in SIGNALS)
RECORDED = (*DEFAULT, Flood.name)


@dataclass(frozen=True)
class Asked:
    """One query's candidates, best first.

    Attributes:
        query_id: The query.
        scores: By signal, shape (candidates,).
        poisoned: Which were planted.
        relevant: Which answer.
    """

    query_id: str
    scores: Mapping[str, NDArray[np.float64]]
    poisoned: NDArray[np.bool_]
    relevant: NDArray[np.bool_]


class Recorder:
    """A retriever that remembers its results."""

    def __init__(self, retriever: Any) -> None:
        self._retriever = retriever
        self.results: list[GuardedResult] = []

    def retrieve(self, query: str, k: int = K) -> GuardedResult:
        """As the retriever does."""
        found: GuardedResult = self._retriever.retrieve(query, k)
        self.results.append(found)
        return found


Found: TypeAlias = tuple[str, GuardedResult]
"""A query's id, and what came of it."""


class Asking:
    """A dataset, asked of a guard that flags and drops nothing.

    Attributes:
        dataset: With sources.
        bench: What attacks and defenses are built from.
        targets: Queries that are attacked.
        others: The other queries' texts.
    """

    def __init__(self, name: str, folder: Path, count: int = TARGETS) -> None:
        """Load a dataset; on nq_dev the targets have paraphrases."""
        found = datasets.load(folder / name)
        self.dataset = datasets.Dataset(**{**found.__dict__, "documents": tuple(with_sources(found.documents, SEED))})
        model = SentenceTransformerEncoder.offline(progress=False)
        self._encoder = CachedEncoder(model, CACHE)
        self._index = DenseIndex(self._encoder)
        self._index.add(self.dataset.documents)
        ids = list(datasets.load_paraphrases(PARAPHRASES))[:count] if name == "nq_dev" else ()
        drawn = [datasets.target(self.dataset, one) for one in ids]
        self.targets = drawn or datasets.targets(self.dataset, count, SEED)
        self.others = datasets.others(self.dataset, self.targets, len(self.dataset.queries), SEED)
        self.bench = Bench(self.dataset, self._encoder, model, TextCache(CACHE), self.others[:MOST], self._index, K, SEED)
        self._system = build_system(f"calibrated(policy='flag', signals={RECORDED})", self.bench)
        self._recorder = Recorder(self._system.over(self._index))

    @property
    def calibrating(self) -> int:
        """How many queries of a split calibrate."""
        return min(len(self.others) - LEFT, MOST)

    def clean(self) -> list[Found]:
        """All queries without attack, the targets last."""
        ids = {self.dataset.queries[one]: one for one in self.dataset.queries}
        near = {h.document.id: h.document for query in self.others for h in self._index.retrieve(query, OVERFETCH * K)}
        self._system.prepare([*near.values()])
        for query in (*self.others, *(target.query for target in self.targets)):
            self._recorder.retrieve(query)
        return self._recorded([*(ids[query] for query in self.others), *(target.id for target in self.targets)])

    def under(self, spec: str, documents: int = 3, count: int | None = None) -> Iterator[tuple[Trial, list[Found]]]:
        """The first so many targets, or all, under each attack of a name."""
        targets = self.targets[:count]
        recording = System(self._system.name, lambda _: self._recorder, self._system.prepare, self._system.depth)
        experiment = Experiment(self._index, self._encoder, targets, [recording], k=K, timed=0, ingested=1)
        for attack in build_attacks(spec, self.bench):
            print(self.dataset.name, attack.name, flush=True)
            trial = experiment.under(attack, Budget(documents))
            yield trial, self._recorded([target.id for target in targets])

    def asked(self, found: Iterable[Found]) -> list[Asked]:
        """What the guard told of each."""
        return [_asked(one, result, self.dataset.relevant[one]) for one, result in found]

    def _recorded(self, ids: Sequence[str]) -> list[Found]:
        found = list(zip(ids, self._recorder.results, strict=True))
        self._recorder.results.clear()
        return found


def measure(name: str, folder: Path) -> dict[str, Any]:
    """All of one dataset's rows."""
    asking = Asking(name, folder)
    clean = asking.asked(asking.clean())
    attacked: dict[str, tuple[str, list[Asked]]] = {}
    floods = [(FLOOD, 5)] * bool(asking.dataset.attack_texts)
    for spec, documents in [(spec, 3) for spec in ATTACKS[name]] + floods + [(DIRTY, 1)] * (name == "nq_dev"):
        for trial, found in asking.under(spec, documents):
            label = trial.attack if documents == 3 else f"{trial.attack} x{documents}"
            attacked[label] = ("honest" if spec == DIRTY else trial.family, asking.asked(found))
    return {
        "dataset": name,
        "documents": len(asking.dataset.documents),
        "queries": len(clean),
        "calibrating": asking.calibrating,
        "rows": _rows(clean, asking.targets, attacked),
    }


def _asked(query_id: str, result: GuardedResult, relevant: frozenset[str]) -> Asked:
    documents: list[Document] = [hit.document for hit in result.candidates]
    poisoned = np.array([TARGET in document.metadata for document in documents])
    return Asked(
        query_id,
        {name: np.array([verdict.signals[name] for verdict in result.verdicts]) for name in RECORDED},
        poisoned,
        np.array([document.id in relevant for document in documents]) & ~poisoned,
    )


Attacked: TypeAlias = Mapping[str, tuple[str, list[Asked]]]
"""By attack, its family and what came of it."""


def _rows(clean: Sequence[Asked], targets: Sequence[Target], attacked: Attacked) -> list[dict[str, Any]]:
    """One row for each choice: the default at several losses, without each signal, each alone, and a guard of floods after it."""
    chosen: list[tuple[str, Sequence[Sequence[str]], float]] = [("default", [DEFAULT], loss) for loss in LOSSES]
    chosen += [(f"without {one}", [tuple(name for name in DEFAULT if name != one)], LOSS) for one in DEFAULT]
    chosen += [(f"{one} alone", [(one,)], LOSS) for one in RECORDED]
    chosen += [("then flood", [DEFAULT, (Flood.name,)], LOSS)]
    fixed = {target.id for target in targets}
    free = [one for one in clean if one.query_id not in fixed]
    before = [one for one in clean if one.query_id in fixed]
    rows = []
    for label, guards, loss in chosen:
        harmed: dict[str, list[float]] = {}
        answered: dict[str, list[float]] = {}
        hit: dict[str, dict[str, list[float]]] = {name: {} for name in attacked}
        kept: dict[str, dict[str, list[float]]] = {name: {} for name in attacked}
        of_five: dict[str, list[int]] = {name: [] for name in attacked}
        answered_by_five: dict[str, list[bool]] = {name: [] for name in attacked}
        for split in range(SPLITS):
            order = np.random.default_rng([SEED, split]).permutation(len(free))
            calibrating = [free[i] for i in order[: min(len(free) - LEFT, MOST)]]
            guard = [calibrated(calibrating, signals, loss) for signals in guards]
            for one in (*before, *(free[i] for i in order[len(calibrating) :])):
                found = suspicious(one, guard)
                harmed.setdefault(one.query_id, []).append(bool(found[:K].any()))
                answered.setdefault(one.query_id, []).append(bool(one.relevant[~found][:K].any()))
            for name, (_, asked) in attacked.items():
                for one in asked:
                    left = ~suspicious(one, guard)
                    hit[name].setdefault(one.query_id, []).append(bool(one.poisoned[left][:K].any()))
                    kept[name].setdefault(one.query_id, []).append(bool(one.relevant[left][:K].any()))
                    of_five[name].append(int(one.poisoned[left][:5].sum()))
                    answered_by_five[name].append(bool(one.relevant[left][:5].any()))
        row: dict[str, Any] = {"signals": label, "loss": loss, "clean_loss": pooled(harmed), "clean_sr": pooled(answered)}
        row["clean_sr_undefended"] = round(mean(bool(one.relevant[:K].any()) for one in clean if one.query_id in answered), 4)
        row["attacks"] = {
            name: {
                "family": family,
                "undefended": round(mean(bool(one.poisoned[:K].any()) for one in asked), 4),
                "asr": pooled(hit[name]),
                "sr": pooled(kept[name]),
                "undefended_of_5": round(mean(int(one.poisoned[:5].sum()) for one in asked), 4),
                "undefended_sr_at_5": round(mean(bool(one.relevant[:5].any()) for one in asked), 4),
                "poisoned_of_5": round(mean(of_five[name]), 4),
                "sr_at_5": round(mean(answered_by_five[name]), 4),
            }
            for name, (family, asked) in attacked.items()
        }
        rows.append(row)
    return rows


def calibrated(asked: Sequence[Asked], signals: Sequence[str], loss: float) -> tuple[Any, float]:
    """As `ragguard.defenses.calibrated.calibrate` does, from scores that are known."""
    by_id = {one.query_id: one for one in asked}
    fit, held = parts(list(by_id), loss)
    classes: tuple[type[Signal], ...] = (*SIGNALS, Flood)
    units = {signal.name: signal.unit for signal in classes}
    scales = {name: scale([float(by_id[one].scores[name][:K].max()) for one in fit], units[name]) for name in signals}
    maxima = sorted(float(suspicions(scales, _of(by_id[one], signals))[:K].max()) for one in held)
    return scales, Calibration(encoder="", k=K, scales=scales, maxima=tuple(maxima)).threshold(loss)


def _of(asked: Asked, signals: Iterable[str]) -> dict[str, NDArray[np.float64]]:
    return {name: asked.scores[name] for name in signals}


def suspicious(asked: Asked, guards: Iterable[tuple[Any, float]]) -> NDArray[np.bool_]:
    """Which candidates some guard would drop, shape (candidates,)."""
    found = [suspicions(scales, _of(asked, scales)) > threshold for scales, threshold in guards]
    return np.asarray(np.any(found, axis=0))


def pooled(values: Mapping[str, Sequence[float]]) -> list[float]:
    """The rate over queries, each query's splits averaged, and its 95 % interval."""
    each = np.array([mean(one) for one in values.values()])
    return [round(float(number), 4) for number in (each.mean(), *interval(each, SEED))]


def main() -> None:
    """Measure the datasets named on the command line, or all."""
    folder = os.environ.get("RAGGUARD_DATA", "")
    if not folder:
        raise SystemExit("set RAGGUARD_DATA to a folder of datasets in BEIR layout")
    for name in sys.argv[1:] or ATTACKS:
        about = report.about(encoder=OFFLINE_MODEL, k=K, targets=TARGETS, splits=SPLITS, seed=SEED, budget=3)
        found = {**measure(name, Path(folder)), **about}
        (OUT / f"default_guard_{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
