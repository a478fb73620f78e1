"""Fuzzing that is guided by coverage (atheris, where it is installed), each target in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

NAMES = ("text", "guard", "dataset")
_DONE = re.compile(r"Done (\d+) runs in")


def guided(seconds: int, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Share the seconds among the targets of `benchmarks.trust.fuzz`.

    Returns:
        `guided_runs` by target, and `guided_findings`, what the fuzzer said of each target that failed; empty without atheris.
    """
    if find_spec("atheris") is None:
        say("no atheris: pip install atheris")
        return {}
    runs: dict[str, int] = {}
    findings: list[str] = []
    for name in NAMES:
        command = [sys.executable, "-m", __name__, name, f"-max_total_time={max(seconds // len(NAMES), 1)}", "-verbosity=1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        told = _DONE.search(done.stderr)
        runs[name] = int(told.group(1)) if told else 0
        if done.returncode or not told:
            findings.append(f"{name}: {done.stderr[-2000:]}")
        say(f"fuzzed: {name}: {runs[name]} runs")
    return {"guided_seconds": seconds, "guided_runs": runs, "guided_findings": findings}


def main() -> None:
    """Fuzz the target that the first argument names; the others are libFuzzer's."""
    import atheris

    with atheris.instrument_imports(include=["ragguard"]):
        from benchmarks.trust.fuzz import TARGETS
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
