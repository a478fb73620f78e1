"""Run every benchmark and write `benchmarks/results/*.json`; what needs data we do not ship is skipped without RAGGUARD_DATA."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from benchmarks import closed_form, contested, language_sample, latency, paper_rows, scaling, sql_store

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run those named on the command line, or all."""
    every = {
        module.__name__.rpartition(".")[2]: module
        for module in (closed_form, contested, language_sample, latency, paper_rows, scaling, sql_store)
    }
    unknown = set(sys.argv[1:]) - set(every)
    if unknown:
        raise SystemExit(f"unknown benchmark {sorted(unknown)}; there are {sorted(every)}")
    RESULTS.mkdir(exist_ok=True)
    for name in sys.argv[1:] or every:
        print(f"== {name}")
        result = every[name].measure()
        if not result:
            print("skipped: set RAGGUARD_DATA to a folder of datasets in BEIR layout")
            continue
        path = RESULTS / f"{name}.json"
        path.write_text(json.dumps(result, indent=1, default=dataclasses.asdict) + "\n", encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
