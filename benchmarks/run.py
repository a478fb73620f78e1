"""Run every benchmark and write `benchmarks/results/*.json`; what needs data we do not ship is skipped without RAGGUARD_DATA."""

from __future__ import annotations

import argparse
import dataclasses
import json
from importlib import import_module
from pathlib import Path

NAMES = (
    "audit",
    "closed_form",
    "contested",
    "encoders",
    "fragment_search",
    "language_sample",
    "latency",
    "paper_rows",
    "reuse",
    "same_model",
    "scaling",
    "scan",
    "sizing",
    "sql_store",
    "throughput",
)
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run those named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which of {', '.join(NAMES)}; all without any", metavar="NAME")
    parser.add_argument("--out", type=Path, default=RESULTS, help="a folder")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(NAMES):
        parser.error(f"unknown benchmark {sorted(unknown)}; there are {sorted(NAMES)}")
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name in chosen.names or NAMES:
        print(f"== {name}")
        result = import_module(f"benchmarks.{name}").measure()
        if not result:
            print("skipped: set RAGGUARD_DATA to a folder of datasets in BEIR layout")
            continue
        path = chosen.out / f"{name}.json"
        path.write_text(json.dumps(result, indent=1, default=dataclasses.asdict) + "\n", encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
