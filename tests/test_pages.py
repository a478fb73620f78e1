"""What README and docs tell to type exists: names that are imported, commands and their options."""

from __future__ import annotations

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from ragguard.cli import app

ROOT = Path(__file__).parents[1]
PAGES = {str(page.relative_to(ROOT)): page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))}
BLOCKS = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPTIONAL = {"ray"}
"""Packages that the tests do without."""


def blocks(*languages: str) -> list[Any]:
    return [
        pytest.param(body, id=f"{name}:{text[: found.start()].count(chr(10)) + 1}")
        for name, page in PAGES.items()
        for text in [page.read_text(encoding="utf-8")]
        for found in BLOCKS.finditer(text)
        for language, body in [found.groups()]
        if language in languages
    ]


@pytest.mark.parametrize("body", blocks("python"))
def test_programs_import_what_there_is(body: str) -> None:
    for node in ast.walk(ast.parse(body)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] not in OPTIONAL:
            module = import_module(node.module)
            for one in node.names:
                assert hasattr(module, one.name), f"{node.module} has no {one.name}"


def lines() -> list[Any]:
    return [
        pytest.param(line.strip(), id=f"{where.id}+{number}")
        for where in blocks("", "bash")
        for number, line in enumerate(where.values[0].replace("\\\n", " ").splitlines())
        if line.strip().startswith("ragguard ")
    ]


@pytest.mark.parametrize("line", lines())
def test_commands_take_what_they_are_given(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command: Any = get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    if not {"COMMAND", "..."} & set(words):
        command.make_context("ragguard", words)  # parses, and runs nothing
