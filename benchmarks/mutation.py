"""Mutation testing of decisions, calibration and persistence: their tests must see most small faults in them (mutmut)."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.run import RESULTS
from ragguard.evaluation import report
from ragguard.evaluation.files import write_whole

LEAST = 0.85
"""Share of the mutants of each group that must be seen, that is, killed or timed out. Most of what survives is the same program:
`strict` of a zip whose sides are equally long, the letter case of SQL, a type code of arrays, the indent of a file."""

AUDIT = ("tests/test_audit.py", "-k", "not command and not processes and not flipped")
RETRIEVER = (
    "tests/test_retriever.py",
    "tests/test_retriever_ways.py",
    "tests/test_contested.py::test_the_guarded_result_says_so_and_points_into_the_original_text",
    "tests/test_query_findings.py",
    "-k",
    "not trigger and not event_loop and not hangs and not many_threads",
)
QUARANTINE = ("tests/test_quarantine_parts.py", "tests/test_quarantine.py", "-k", "not postgresql and not browser")

GROUPS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "decisions": {
        "defenses/base": ("tests/test_defense_base.py",),
        "defenses/acting": ("tests/test_calibrated_parts.py",),
        "defenses/calibrated": ("tests/test_calibrated_parts.py",),
        "defenses/quarantined": ("tests/test_quarantine_parts.py",),
        "defenses/quota": ("tests/test_quota.py", "-k", "not no_attacker and not adds and not isolated"),
        "defenses/ragmask": (
            "tests/test_ragmask.py",
            "-k",
            "not question and not honest and not embedded and not offsets and not hostile",
        ),
        "defenses/ragpart": ("tests/test_ragpart.py", "-k", "not over_the_corpus and not no_payload and not close and not exact"),
        "audit/replay": AUDIT,
        "gate/gate": ("tests/test_gate.py",),
        "gate/verdicts": ("tests/test_gate.py",),
        "retriever/accounting": RETRIEVER,
        "retriever/guard": RETRIEVER,
        "retriever/guarded_retriever": RETRIEVER,
    },
    "calibration": {
        "calibration/drift": ("tests/test_calibration.py",),
        "calibration/thresholds": ("tests/test_calibration.py",),
        "calibration/derived": ("tests/test_derived.py", "-k", "not echo"),
    },
    "persistence": {
        "defenses/saved": ("tests/test_saved_guard.py",),
        "provenance/canonical": ("tests/test_manifest_parts.py",),
        "provenance/keys": ("tests/test_manifest_parts.py",),
        "provenance/ledger": ("tests/test_manifest_parts.py",),
        "provenance/manifest": ("tests/test_manifest_parts.py",),
        "provenance/verifying": ("tests/test_manifest_parts.py",),
        "quarantine/chain": QUARANTINE,
        "quarantine/quarantine": QUARANTINE,
        "quarantine/records": QUARANTINE,
        "quarantine/tables": QUARANTINE,
        "audit/log": AUDIT,
        "audit/record": AUDIT,
        "evidence/sql_store": ("tests/test_sql_store_rows.py",),
    },
}
"""Modules, and of each the quickest tests, as arguments of pytest: the whole suite takes too long to be run for every mutant."""

TESTS = {name: tests for modules in GROUPS.values() for name, tests in modules.items()}

SOURCES = Path(__file__).parents[1]
BESIDE = ("benchmarks", "conftest.py", "docs", "examples", "tests")
"""What the tests need beside the package."""

CONFIG = r"""[mutmut]
source_paths = ragguard
only_mutate = ragguard/{module}.py
also_copy =
    {beside}
pytest_add_cli_args_test_selection =
    {tests}
do_not_mutate_patterns =
    raise \w+Error\(
    LOGGER\.
"""
"""What errors and warnings say is no decision, and is not mutated. mutmut itself leaves f-strings, docstrings, constants of
modules and classes, and functions with decorators (properties, validators)."""

KEYS = ("mutants", "survived", "timed_out")
UNSEEN = ("survived", "no tests")
TIMED_OUT = ("timeout", "segfault")
"""mutmut ends what is too slow by a signal, and then by another."""


def mutate(name: str, folder: Path, processes: int) -> dict[str, Any]:
    """Run the tests of a module against each of its mutants.

    Args:
        name: Of the module, see `TESTS`.
        folder: Made new, and left for `mutmut browse`, which shows what survived.
        processes: At once.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for one in ("ragguard", *BESIDE, "pyproject.toml"):
        (folder / one).symlink_to(SOURCES / one)
    config = CONFIG.format(module=name, beside="\n    ".join(BESIDE), tests="\n    ".join(TESTS[name]))
    (folder / "setup.cfg").write_text(config, encoding="utf-8")
    start = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # a fork has none of the threads that its parent started
    command = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", str(processes)]
    subprocess.run(command, cwd=folder, env=environment, check=True)  # noqa: S603
    counted = statuses(folder / "mutants" / "ragguard" / f"{name}.py.meta")
    return {"module": name, "tests": TESTS[name], **counted, "seconds": round(time.monotonic() - start)}


def statuses(path: Path) -> dict[str, Any]:
    """How many mutants there are of each kind, by mutmut's own record."""
    from mutmut.stats import status_by_exit_code  # installed by `make mutate`

    found = Counter(status_by_exit_code[code] for code in json.loads(path.read_bytes())["exit_code_by_key"].values())
    if found["not checked"]:
        raise SystemExit(f"{path} has {found['not checked']} mutants that were not checked: the run was interrupted")
    survived, timed_out = (sum(found[one] for one in group) for group in (UNSEEN, TIMED_OUT))
    return _shared(found.total(), survived, timed_out)


def _shared(mutants: int, survived: int, timed_out: int) -> dict[str, Any]:
    return {
        "mutants": mutants,
        "killed": mutants - survived - timed_out,
        "timed_out": timed_out,
        "survived": survived,
        "share": round(1 - survived / max(mutants, 1), 4),
    }


def summed(rows: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The result of each group, and of its modules that were run."""
    found = {}
    for group, modules in GROUPS.items():
        mine = [rows[name] for name in modules if name in rows]
        found[group] = {**_shared(*(sum(row[key] for row in mine) for key in KEYS)), "modules": mine}
    return found


def main() -> None:
    """Run all modules, or those that are named; fails where too little is seen of a group."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutation", description=__doc__)
    parser.add_argument(
        "names", nargs="*", help=f"of {', '.join(TESTS)}: run these, and keep the rest of the file", metavar="NAME"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="a folder")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="at once")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(TESTS):
        parser.error(f"unknown module {sorted(unknown)}; there are {sorted(TESTS)}")
    path, work = chosen.out / "mutation.json", Path("out/mutation")
    before = json.loads(path.read_bytes()) if chosen.names and path.exists() else {}
    rows = {row["module"]: row for group in GROUPS if group in before for row in before[group]["modules"]}
    for name in chosen.names or TESTS:
        print(f"== {name}", flush=True)
        rows[name] = mutate(name, work / name.replace("/", "."), chosen.processes)
        found = summed(rows)
        about = report.about(least=LEAST, processes=chosen.processes, seconds=sum(row["seconds"] for row in rows.values()))
        write_whole(path, json.dumps({**found, **about}, indent=1) + "\n")
        print(f"{name}: {rows[name]['share']:.1%} of {rows[name]['mutants']} mutants seen", flush=True)
    shares = {group: f"{group} {one['share']:.1%} of {one['mutants']}" for group, one in found.items() if one["modules"]}
    print(f"wrote {path}; mutants seen: {', '.join(shares.values())}")
    if weak := [shares[group] for group in shares if found[group]["share"] < LEAST]:
        raise SystemExit(f"below {LEAST:.0%}: {', '.join(weak)}; see what survived: cd {work}/MODULE && mutmut browse")


if __name__ == "__main__":
    main()
