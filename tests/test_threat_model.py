"""What the threat model claims has tests, and they are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`((?:tests|integrations)/[\w./-]+\.py)::(test_\w+)`")


def rows(part: str) -> list[list[str]]:
    """Cells of all table rows under a heading, without heads."""
    text = PAGE.partition(f"\n## {part}\n")[2].partition("\n## ")[0]
    lines = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip(" |") for cell in cells] for cells in lines]


def test_every_test_that_is_named_exists() -> None:
    named = NAMED.findall(PAGE)
    assert len(named) > 40
    for path, name in named:
        assert re.search(rf"^ *(?:async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), name


def test_every_claim_names_a_test() -> None:
    claims = [row for row in rows("What is claimed") if row[0] != "claim"]
    assert len(claims) > 15
    for claim, shown in claims:
        assert NAMED.search(shown), claim


def test_every_row_of_a_framework_says_yes_part_or_no_and_shows_what_it_claims() -> None:
    found = [row for row in rows("The frameworks, row by row") if len(row) == 3 and row[1]]
    for framework in ("C8.1", "C8.6", "AML.T0070", "AML.T0071", "AML.T0066", "Indirect prompt injection", "Embedding inversion"):
        assert any(framework in row[0] for row in found)
    for what, how, shown in found:
        assert how in {"Yes", "Part", "No"}, what
        assert how == "No" or NAMED.search(shown) or " as " in f" {shown}", what
