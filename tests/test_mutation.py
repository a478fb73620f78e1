"""The table of `make mutate`, and what makes it fail; mutmut itself is not needed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import mutation


def test_modules_and_their_tests_exist() -> None:
    for name, tests in mutation.TESTS.items():
        assert (mutation.SOURCES / "ragguard" / f"{name}.py").is_file(), name
        files = [one.partition("::")[0] for one in tests if one.startswith("tests/")]
        assert files
        assert all((mutation.SOURCES / file).is_file() for file in files), name


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, survived: int, *names: str) -> dict[str, Any]:
    """As the command does, with ten mutants in each module."""
    counted = {"mutants": 10, "killed": 9 - survived, "timed_out": 1, "survived": survived, "share": 1 - survived / 10}
    monkeypatch.setattr(mutation, "mutate", lambda name, *_: {"module": name, "seconds": 2, **counted})
    monkeypatch.setattr(sys, "argv", ["mutation", "--out", str(folder), *names])
    try:
        mutation.main()
    finally:
        found: dict[str, Any] = json.loads((folder / "mutation.json").read_text())
    return found


def test_each_group_is_held_to_its_share(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = run(monkeypatch, tmp_path, 1)
    for group, modules in mutation.GROUPS.items():
        assert [row["module"] for row in found[group]["modules"]] == list(modules)
        assert (found[group]["mutants"], found[group]["share"]) == (10 * len(modules), 0.9)
    again = run(monkeypatch, tmp_path, 0, "calibration/derived")
    assert [row["survived"] for row in again["calibration"]["modules"]] == [1, 1, 0]
    assert again["calibration"] | {"modules": []} == {
        "mutants": 30,
        "killed": 25,
        "timed_out": 3,
        "survived": 2,
        "share": 0.9333,
        "modules": [],
    }
    assert again["decisions"] == found["decisions"]
    with pytest.raises(SystemExit, match=r"below 85%: calibration 80\.0% of 30; see what survived"):
        run(monkeypatch, tmp_path, 4, "calibration/derived")
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path, 0, "nothing")


def test_what_mutmut_recorded_is_counted(tmp_path: Path) -> None:
    pytest.importorskip("mutmut", reason="installed by make mutate")
    codes = {"a": 1, "b": 3, "c": 0, "d": 33, "e": 36, "f": -24, "g": 1}
    (tmp_path / "m").write_text(json.dumps({"exit_code_by_key": codes}))
    assert mutation.statuses(tmp_path / "m") == {"mutants": 7, "killed": 3, "timed_out": 2, "survived": 2, "share": 0.7143}
    (tmp_path / "m").write_text(json.dumps({"exit_code_by_key": codes | {"h": None}}))
    with pytest.raises(SystemExit, match="1 mutants that were not checked"):
        mutation.statuses(tmp_path / "m")
