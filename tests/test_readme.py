from __future__ import annotations

import re
import xml.etree.ElementTree as ET
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


@pytest.mark.parametrize("picture", sorted(tables.IMAGES.rglob("*.svg")), ids=lambda picture: picture.name)
def test_every_picture_is_one(picture: Path) -> None:
    assert ET.parse(picture).getroot().tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314
