"""The test bench of `make trust`, small; and that it sees what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.trust import bad_inputs, corruptions, full_disk, fuzz, kills, machines, races, supply, writes


def quiet(_: str) -> None:
    pass


def test_a_killed_write_leaves_old_or_new() -> None:
    found = kills.kills(10, say=quiet)
    assert (found["kills"], found["torn"]) == (10, 0)


def test_a_torn_file_would_be_seen(tmp_path: Path) -> None:
    for name, file in (
        ("result, written", "results.json"),
        ("store, overwritten", "evidence.db"),
        ("guard, saved", "guard.json"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        write = writes.WRITES[name]
        write.before(folder)
        assert write.state(folder) == "old"
        (folder / file).write_bytes((folder / file).read_bytes()[:-5000])
        try:
            state = write.state(folder)
        except (ValueError, OSError):
            continue
        assert state == "torn"


def test_no_corruption_is_loaded_silently() -> None:
    found = corruptions.corruptions(160, say=quiet)
    assert (found["corruptions"], found["silent_loads"], found["crashes"]) == (160, 0, 0)
    assert all(one.total() == 20 for one in found["corrupted_by_file"].values())


def test_a_silent_load_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragguard.evidence.sql_store._digest", lambda *_, **__: b"0" * 16)
    monkeypatch.setattr("ragguard.quarantine.tables._digest", lambda *_: "0" * 64)
    corruptions._write(tmp_path)
    assert corruptions._damaged(tmp_path, "rows", (0,), 2 * len(corruptions.ROWS))["silent"] >= 2
    rows = "rows of the quarantine"
    assert corruptions._damaged(tmp_path, rows, (0,), len(corruptions.KEPT[rows].rows))["silent"] >= 1


def test_a_full_disk_leaves_old_or_new() -> None:
    found = full_disk.full_disk(4, say=quiet)
    assert (found["full_disks"], found["full_disk_wrong"]) == (4 * len(writes.WRITES), 0)


def test_readers_and_a_writer_at_once() -> None:
    found = races.races(1.0, say=quiet)
    assert found["race_wrong"] == 0
    assert found["race_reads"] > 30


def test_a_store_and_an_index_do_what_they_must_in_any_order() -> None:
    machines.machines(2)


def test_any_bytes_are_read_or_refused() -> None:
    fuzz.examples(60)


def test_bad_inputs_end_in_typed_outcomes_under_python_o() -> None:
    found = bad_inputs.optimised()
    assert found["bad_inputs"] >= 57
    assert (found["untyped"], found["bypassed"]) == ([], [])


def test_what_is_installed_is_known() -> None:
    packages = supply.licences()
    assert {"ragguard-defense", "numpy", "faiss-cpu", "pydantic", "torch"} <= packages.keys()
    assert packages["ragguard-defense"]["licence"] == "Apache-2.0"
    unknown = {name for name, package in packages.items() if package["licence"] == "unknown"}
    assert unknown <= {"cuda-toolkit"}  # a package of requirements only, which torch for CUDA brings in


def test_what_is_written_needs_no_model() -> None:
    asked = "import benchmarks.trust.kills, sys; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
