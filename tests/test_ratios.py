"""The numbers to reach, read off the committed results, and what makes a nightly run fail."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import ratios
from benchmarks.run import RESULTS


def test_every_number_is_in_the_committed_results() -> None:
    for ratio in ratios.RATIOS:
        found = json.loads((RESULTS / f"{ratio.file}.json").read_text(encoding="utf-8"))
        assert ratio.value(found) is not None, ratio.name
    shown, fallen = ratios.table()
    assert shown.row_count == len(ratios.RATIOS)
    assert fallen == []


def test_a_fresh_run_that_falls_behind_by_more_than_a_fifth_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed = json.loads((RESULTS / "latency.json").read_text(encoding="utf-8"))
    monkeypatch.setattr(sys, "argv", ["ratios", "--fresh", str(tmp_path)])
    for factor, speed in ((1.19, 0.3), (0.5, 3.0)):  # milliseconds and a speedup over seconds may differ between machines
        fresh = {
            "guarded_over_unguarded": committed["guarded_over_unguarded"] * factor,
            "added_ms_p50": committed["added_ms_p50"] / speed,
        }
        (tmp_path / "latency.json").write_text(json.dumps(fresh), encoding="utf-8")
        ratios.main()
    fresh["guarded_over_unguarded"] = committed["guarded_over_unguarded"] * 1.21
    (tmp_path / "latency.json").write_text(json.dumps(fresh), encoding="utf-8")
    with pytest.raises(SystemExit, match="guarded / unguarded"):
        ratios.main()


def test_more_or_less_is_better() -> None:
    faster = next(ratio for ratio in ratios.RATIOS if ratio.more and ratio.steady)
    assert faster.met(faster.target)
    assert not faster.met(0.9 * faster.target)
    assert faster.fell(10, 7.9)
    assert not faster.fell(10, 8.1)
