from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import tables

PAGES = {page.name: page.read_text(encoding="utf-8") for page in tables.PAGES}
LINKS = [
    (page.parent / link).resolve() for page in tables.PAGES for link in re.findall(r"\]\((?!http)([^)#]+)", PAGES[page.name])
]


@pytest.mark.parametrize("name", PAGES)
def test_the_tables_are_those_of_the_committed_results(name: str) -> None:
    assert "<!-- table: " in PAGES[name]
    assert tables.render(PAGES[name]) == PAGES[name]


def test_every_kind_of_table_is_used() -> None:
    used = set(re.findall(r"<!-- table: (\w+)", "".join(PAGES.values())))
    assert used == set(tables.TABLES)


@pytest.mark.parametrize("link", sorted(set(LINKS)), ids=lambda link: link.name)
def test_every_local_link_leads_somewhere(link: Path) -> None:
    assert link.exists()
