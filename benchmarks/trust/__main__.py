"""Run the test bench and write OUT/trust.json; minutes, and it says what it does. Fails where something does not hold."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.trust import corruptions, full_disk, fuzz, guided, kills, machines, races, supply
from ragguard.evaluation import report
from ragguard.evaluation.files import write_whole

NUMBERS = ("kills", "torn", "corruptions", "silent_loads", "crashes", "bad_inputs", "untyped_outcomes", "bypasses")
"""First in the file; the others say how they came about."""

ZERO = (
    *("torn", "silent_loads", "crashes", "untyped_outcomes", "bypasses"),
    *("full_disk_wrong", "race_wrong", "guided_findings"),
)
"""What must be zero, or empty."""

KILLS, CORRUPTIONS, FULL_DISKS, RACE_S, MACHINES, EXAMPLES, FUZZ_S = 500, 6000, 20, 20, 100, 5000, 300
"""Full sizes; a race of 20 s each of three ways."""


def parts(size: float) -> Mapping[str, Callable[[], dict[str, Any]]]:
    """What there is to run, by name.

    Args:
        size: 1 is the full size.
    """

    def of(full: int) -> int:
        return max(round(full * size), 1)

    return {
        "bad inputs": _bad_inputs,
        "kills": lambda: kills.kills(of(KILLS)),
        "corruptions": lambda: corruptions.corruptions(of(CORRUPTIONS)),
        "full disk": lambda: full_disk.full_disk(of(FULL_DISKS)),
        "races": lambda: races.races(RACE_S * size),
        "machines": lambda: machines.machines(of(MACHINES)),
        "fuzzing": lambda: fuzz.examples(of(EXAMPLES)),
        "guided fuzzing": lambda: guided.guided(of(FUZZ_S)),
        "supply": supply.supply,
    }


def _bad_inputs() -> dict[str, Any]:
    from benchmarks.trust import bad_inputs  # and with it every framework

    return {**bad_inputs.bad_inputs(), "optimised": bad_inputs.optimised()}


def main() -> None:
    """Run all, or those that are named."""
    every = parts(1.0)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trust", description=__doc__)
    parser.add_argument(
        "names", nargs="*", help=f"of {', '.join(every)}: run these, and keep the rest of the file", metavar="NAME"
    )
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="a folder")
    parser.add_argument("--size", type=float, default=1.0, help="1 is the full size")
    chosen = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if unknown := set(chosen.names) - set(every):
        parser.error(f"unknown part {sorted(unknown)}; there are {sorted(every)}")
    path = chosen.out / "trust.json"
    before = json.loads(path.read_bytes()) if chosen.names and path.exists() else {}
    found: dict[str, Any] = dict(before)
    seconds: dict[str, float] = found.pop("seconds", {})
    for name, part in parts(chosen.size).items():
        if chosen.names and name not in chosen.names:
            continue
        print(f"== {name}", flush=True)
        start = time.monotonic()
        found |= part()
        seconds[name] = round(time.monotonic() - start, 1)
        first = {name: found[name] for name in NUMBERS if name in found}
        about = report.about(size=chosen.size, seconds=seconds)
        write_whole(path, json.dumps(first | found | about, indent=1) + "\n")
    print(f"wrote {path}: " + ", ".join(f"{name} {found[name]}" for name in NUMBERS if name in found))
    wrong = [name for name in ZERO if found.get(name)]
    wrong += [f"python -O: {name}" for name in ZERO if found.get("optimised", {}).get(name)]
    if wrong:
        raise SystemExit(f"not zero: {', '.join(wrong)}; see {path}")


if __name__ == "__main__":
    main()
