"""The robust score after the default guard: what it stops, and what it costs, by quantile and by what the rest of a document is.

As in `benchmarks.default_guard`, every attack is asked once, and splits are computed from what was seen.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.compare_defenses import PARAPHRASE, WORDS
from benchmarks.default_guard import (
    DEFAULT,
    LOSS,
    OUT,
    PARAPHRASED,
    SEED,
    SPLITS,
    TARGETS,
    Asked,
    Asking,
    Found,
    K,
    calibrated,
    pooled,
    suspicious,
)
from ragguard.defenses.robust import QUANTILE, fit, rest
from ragguard.encoders import OFFLINE_MODEL
from ragguard.encoders.vectors import encode_one_query
from ragguard.evaluation import report
from ragguard.evidence import EvidenceBuilder, FragmentPlan, MemoryStore, WindowPlan
from ragguard.text import canonical
from ragguard.types import Vectors

QUANTILES = (0.5, 0.75, QUANTILE, 0.9)
FRAGMENTS = 5
WRITTEN = 50
"""Queries with paraphrases."""
EVERYWHERE = PARAPHRASE.replace("'front', 'end'", "'every-fragment'")
KNOWING = PARAPHRASE.replace("'front', 'end'", ", ".join(["'every-fragment'"] * 4))
"""An attacker who knows the robust score: two paraphrases by turns, four in each of five fragments, so that they are the rest."""
ATTACKS: dict[str, Sequence[tuple[str, int]]] = {
    "nq_dev": (
        *((spec, WRITTEN) for spec in (*PARAPHRASED, EVERYWHERE, KNOWING)),
        ("adversarial-decoding", TARGETS),
        ("hotflip(places=['spread'], excerpt=128)", TARGETS),
        ("gaslite(places=['spread'], words=32, excerpt=128)", TARGETS),
        *((spec, TARGETS) for spec in WORDS),
    ),
    "hotpot_dev": tuple((spec, TARGETS) for spec in WORDS),
    "msmarco_dev": tuple((spec, TARGETS) for spec in WORDS),
}
RESTS: dict[str, Callable[[Vectors, Vectors], float]] = {
    "a third of the windows": lambda windows, _: rest(windows),
    "half of the windows": lambda windows, _: float(np.median(windows)),
    "three of five fragments": lambda _, fragments: float(np.median(fragments)),
    "two of five fragments": lambda _, fragments: float(np.sort(fragments)[1]),
}
"""What the rest of a document may be: what so much of it does not exceed."""
CHOSEN = next(iter(RESTS))


Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Seen:
    """One query's candidates, best first.

    Attributes:
        asked: What the guard told.
        similarities: Shape (candidates,).
        rests: By what the rest is, shape (candidates,).
    """

    asked: Asked
    similarities: NDArray[np.float64]
    rests: Mapping[str, NDArray[np.float64]]

    def top(self, left: Mask, name: str = CHOSEN, line: tuple[float, float] | None = None) -> list[int]:
        """The top k places among those that are left, ranked by the robust score where there is a line."""
        scores = self.similarities if line is None else np.minimum(self.similarities, line[0] + line[1] * self.rests[name])
        places = np.flatnonzero(left)
        found: list[int] = places[np.argsort(-scores[places], kind="stable")][:K].tolist()
        return found


class Looking:
    """Looks at what was found."""

    def __init__(self, asking: Asking) -> None:
        """Evidence is that of the guard, and fragments."""
        self._asking, self._encoder = asking, asking.bench.encoder
        self._plans = [
            EvidenceBuilder(self._encoder, WindowPlan(), asking.bench.store),
            EvidenceBuilder(self._encoder, FragmentPlan(FRAGMENTS), MemoryStore()),
        ]

    def __call__(self, found: Sequence[Found]) -> list[Seen]:
        """Each query's candidates."""
        return [self._seen(one, asked) for one, asked in zip(found, self._asking.asked(found), strict=True)]

    def _seen(self, found: Found, asked: Asked) -> Seen:
        vector = encode_one_query(self._encoder, canonical(found[1].query).text)
        texts = [canonical(hit.document.text).text for hit in found[1].candidates]
        windows, fragments = ([item.vectors @ vector for item in plan.get(texts)] for plan in self._plans)
        pairs = list(zip(windows, fragments, strict=True))
        rests = {name: np.array([of(*pair) for pair in pairs]) for name, of in RESTS.items()}
        return Seen(asked, np.array([hit.score for hit in found[1].candidates]), rests)


def measure(name: str, folder: Path) -> dict[str, Any]:
    """All of one dataset's rows."""
    asking = Asking(name, folder, WRITTEN if name == "nq_dev" else TARGETS)
    looking = Looking(asking)
    clean = looking(asking.clean())
    families: dict[str, str] = {}
    attacked: dict[str, list[Seen]] = {}
    for spec, count in ATTACKS[name]:
        for trial, found in asking.under(spec, count=count):
            families[trial.attack], attacked[trial.attack] = trial.family, looking(found)
    free, fixed = clean[: len(asking.others)], clean[len(asking.others) :]
    tables: dict[tuple[str, str, float | None], _Row] = {}
    for split in range(SPLITS):
        order = np.random.default_rng([SEED, split]).permutation(len(free))
        calibrating = [free[i] for i in order[: asking.calibrating]]
        evaluated = {"": [*fixed, *(free[i] for i in order[asking.calibrating :])], **attacked}
        guard = [calibrated([one.asked for one in calibrating], DEFAULT, LOSS)]
        everything = {
            what: [(one, np.ones(len(one.similarities), dtype=bool)) for one in seen] for what, seen in evaluated.items()
        }
        guarded = {what: [(one, ~suspicious(one.asked, guard)) for one in seen] for what, seen in evaluated.items()}
        tables.setdefault(("none", "", None), _Row()).add(everything)
        tables.setdefault(("default", "", None), _Row()).add(guarded)
        similarities = np.concatenate([one.similarities for one in calibrating])
        for of in RESTS:
            rests = np.concatenate([one.rests[of] for one in calibrating])
            for quantile in QUANTILES:
                row = tables.setdefault(("default+robust", of, quantile), _Row())
                row.add(guarded, of, fit(rests, similarities, quantile))
    return {
        "dataset": name,
        "documents": len(asking.dataset.documents),
        "queries": len(clean),
        "calibrating": asking.calibrating,
        "rows": [
            {"system": system, "rest": of, "quantile": quantile, **row.rates(families)}
            for (system, of, quantile), row in tables.items()
        ],
    }


class _Row:
    """What came of one system in all splits."""

    def __init__(self) -> None:
        self._lines: list[tuple[float, float]] = []
        self._values: dict[str, dict[str, list[float]]] = {}

    def add(
        self, seen: Mapping[str, Sequence[tuple[Seen, Mask]]], name: str = CHOSEN, line: tuple[float, float] | None = None
    ) -> None:
        """Count one split: clean queries under no name, attacked ones under their attack's, each with what the guard left."""
        self._lines += [line] if line else []
        for attack, pairs in seen.items():
            for one, left in pairs:
                found = one.top(left, name, line)
                self._count(f"sr {attack}", one, one.asked.relevant[found].any())
                self._count(f"asr {attack}", one, one.asked.poisoned[found].any())
                self._count(f"loss {attack}", one, set(found) != set(range(min(K, len(left)))))

    def _count(self, what: str, one: Seen, value: object) -> None:
        self._values.setdefault(what, {}).setdefault(one.asked.query_id, []).append(bool(value))

    def rates(self, families: Mapping[str, str]) -> dict[str, Any]:
        """Pooled over splits."""

        def rate(what: str) -> list[float]:
            return pooled(self._values[what])

        return {
            "line": [round(mean(line[i] for line in self._lines), 4) for i in (0, 1)] if self._lines else None,
            "clean_loss": rate("loss "),
            "clean_sr": rate("sr "),
            "attacks": {
                name: {
                    "family": family,
                    "targets": len(self._values[f"asr {name}"]),
                    "asr": rate(f"asr {name}"),
                    "sr": rate(f"sr {name}"),
                }
                for name, family in families.items()
            },
        }


def main() -> None:
    """Measure the datasets named on the command line, or all; `robust.json` holds what was measured together."""
    folder = os.environ.get("RAGGUARD_DATA", "")
    if not folder:
        raise SystemExit("set RAGGUARD_DATA to a folder of datasets in BEIR layout")
    about = report.about(encoder=OFFLINE_MODEL, k=K, splits=SPLITS, seed=SEED, budget=3, loss=LOSS)
    found = {"datasets": [measure(name, Path(folder)) for name in sys.argv[1:] or ATTACKS], **about}
    (OUT / "robust.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
