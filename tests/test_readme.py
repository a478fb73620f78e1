from __future__ import annotations

import re

import pytest

from benchmarks import tables

README = tables.README.read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_committed_results() -> None:
    assert README.count("<!-- table:") == len(tables.TABLES)
    assert tables.render(README) == README


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)", README))))
def test_every_local_link_leads_somewhere(link: str) -> None:
    assert (tables.ROOT / link).exists()
