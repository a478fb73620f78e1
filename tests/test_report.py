from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ragguard.attacks import Family
from ragguard.evaluation import plots, report
from ragguard.evaluation.example import Example, show
from ragguard.evaluation.metrics import Comparison, Row
from ragguard.types import Document, Hit, Span

HOSTILE = '<script>alert(1)</script> $\\frac{ & "quoted"'


def a_row(attack: str, defense: str, asr: float, family: Family = "A", **more: Any) -> Row:
    return Row(attack, family, defense, 5, asr, 1.0, more.pop("clean_sr", 1.0), 1.0, **more)


def table(*names: str) -> list[Row]:
    """Every attack at full strength undefended, and held by the guard."""
    return [a_row(name, defense, asr) for name in names for defense, asr in (("none", 1.0), ("guard", 0.05))]


def page_of(tmp_path: Path, rows: list[Row], examples: dict[str, Example] | None = None, **details: object) -> str:
    report.write_html(tmp_path / "new" / "report.html", rows, {"dataset": "d", **details}, ["not <stopped>"], examples or {})
    return (tmp_path / "new" / "report.html").read_text(encoding="utf-8")


def texts(svg: str) -> list[str]:
    """What is written in a plot; parsing it shows that it is well formed."""
    return ["".join(one.itertext()).strip() for one in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314


def test_the_page_is_self_contained_and_escapes_hostile_text(tmp_path: Path) -> None:
    shown = show([Hit(Document("x", HOSTILE), 1.0)], {"x"}, frozenset(), {"x": [Span(0, 8)]})
    assert shown[0].parts == (("<script>", True), (HOSTILE[8:], False))
    example = Example(HOSTILE, "\ud800", shown, (), HOSTILE, HOSTILE, stopped=False)
    rows = [replace(row, series=HOSTILE, effort=effort) for effort in (1, 2) for row in table(HOSTILE)]
    rows += [replace(row, defense=HOSTILE) for row in rows]
    page = page_of(
        tmp_path, rows, {HOSTILE: example}, attacks={HOSTILE: {"family": "A", "threat": HOSTILE}}, **{HOSTILE: [HOSTILE]}
    )
    for loaded in ("<script", "src=", "@import", "url(http", "<link", "<iframe", "<image", "alert(1)</script>"):
        assert loaded not in page
    assert "<mark>&lt;script&gt;</mark>" in page
    assert "not &lt;stopped&gt;" in page
    assert "Nothing was returned." in page
    assert page.count("<svg") == 3


def test_the_heat_map_tells_every_rate_and_parts_the_families() -> None:
    rows = [*table("copy"), a_row("lie", "none", 0.91, "B"), a_row("copy", "half", 0.33, clean_sr=0.77, clean_loss=0.44)]
    written = texts(plots.heat_map(rows))
    for expected in ("copy", "lie", "none", "guard", "half", "1.00", "0.05", "0.91", "0.33", "0.77", "0.44"):
        assert expected in written
    assert written.count("–") == 2  # the lie was tried on neither guard
    assert sum(one.startswith("Family") for one in written) == 2
    assert sum(one.startswith("Family") for one in texts(plots.heat_map(table("copy")))) == 1


@pytest.mark.parametrize(("attacks", "heads"), [(3, 1), (40, 2)])
def test_a_tall_heat_map_names_its_columns_at_both_ends(attacks: int, heads: int) -> None:
    written = texts(plots.heat_map(table(*(f"attack {number}" for number in range(attacks)))))
    assert written.count("guard") == heads
    assert f"attack {attacks - 1}" in written


@pytest.mark.parametrize("defenses", [1, 5])
def test_every_defense_has_a_panel_of_its_own(defenses: int) -> None:
    svg = plots.trade_off([a_row("copy", f"guard {number}", 0.1) for number in range(defenses)])
    assert [one for one in texts(svg) if one.startswith("guard")] == [f"guard {number}" for number in range(defenses)]


def test_curves_are_there_only_for_series_of_several_efforts(tmp_path: Path) -> None:
    once = [replace(row, series="copies", effort=1) for row in table("one copy")]
    more = [replace(row, series="copies", effort=32) for row in table("many copies")]
    assert plots.budget_curves(table("copy")) is None
    assert plots.budget_curves(once) is None
    assert "What more effort buys" not in page_of(tmp_path, once)
    curves = plots.budget_curves(once + more)
    assert curves is not None
    written = texts(curves)
    assert written.count("copies") == 1
    assert {"none", "guard", "1", "32"} <= set(written)
    assert "What more effort buys" in page_of(tmp_path, once + more)


def test_the_same_rows_make_the_same_page(tmp_path: Path) -> None:
    assert page_of(tmp_path, table("copy")) == page_of(tmp_path, table("copy"))


def test_the_page_shows_the_details_there_are(tmp_path: Path) -> None:
    bare = page_of(tmp_path, table("copy"))
    assert "What each attacker knows" not in bare
    assert "Questions in full" not in bare
    rows = [replace(row, auroc=0.87, tpr=0.65, intervals={"asr": (0.02, 0.11)}) for row in table("copy")]
    threat = "knows the query; adds documents from 1 source"
    page = page_of(
        tmp_path, rows, documents=12345, packages={"numpy": "2.4.6"}, attacks={"copy": {"family": "A", "threat": threat}}
    )
    for expected in ("12,345 documents", "<td>0.87</td>", "<td>0.65</td>", "0.02–0.11", "2.4.6", threat):
        assert expected in page
        assert expected not in bare


def test_the_json_holds_everything_and_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    rows = [replace(row, intervals={"asr": (0.0, 0.1)}) for row in table("copy")]
    test = Comparison("copy", "asr", "none", "guard", 0.95, 0.001)
    report.write_json(path, rows, report.about(dataset="d"), [test])
    first = path.read_bytes()
    content = json.loads(first)
    assert list(content)[:3] == ["schema", "rows", "comparisons"]
    assert content["schema"] == 2
    assert {"commit", "hardware", "python", "packages", "dataset"} < set(content)
    assert content["rows"][1]["asr"] == 0.05
    assert content["rows"][1]["intervals"] == {"asr": [0.0, 0.1]}
    assert content["comparisons"][0]["p"] == 0.001
    with pytest.raises(TypeError):
        report.write_json(path, rows, {"dataset": object()})
    assert path.read_bytes() == first
    assert list(path.parent.iterdir()) == [path]


def test_shortcomings_name_the_best_defense_and_the_cost() -> None:
    rows = [*table("copy"), a_row("lie", "none", 0.9, "B"), a_row("lie", "guard", 0.8, "B")]
    rows = [replace(row, clean_sr=0.95) if row.defense == "guard" else row for row in rows]
    stopped, cost = report.shortcomings(rows)
    assert "80% of its targets under guard" in stopped
    assert "lie from the truth" in stopped
    assert "guard: without any attack, 5% of the questions" in cost


def test_shortcomings_say_when_no_defense_helps_and_when_many_queries_lose_a_document() -> None:
    rows = [
        a_row("spread", "none", 1.0),
        a_row("spread", "guard", 1.0, clean_loss=0.38),
        a_row("spread", "calm", 1.0, clean_loss=0.02),
    ]
    stopped, cost = report.shortcomings(rows)
    assert "100% of its targets under every defense here" in stopped
    assert "guard: without any attack, 38% of the questions lose a document from the top 5" in cost
