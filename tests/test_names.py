"""Values have names that say what they hold: words that fit anything are kept out of the package and its integrations."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [path.relative_to(ROOT) for top in ("ragguard", "integrations") for path in sorted((ROOT / top).rglob("*.py"))]

VAGUE = {"asked", "found", "made", "one", "told"}
SHORT = 2
"""Lines of a comprehension or a lambda whose own variable a reader sees whole."""

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda)

PUBLIC = {
    "ragguard/attacks/base.py": {"asked"},
    "ragguard/attacks/phantom.py": {"asked"},
    "ragguard/audit/record.py": {"found"},
    "ragguard/calibration/thresholds.py": {"asked"},
    "ragguard/ingest/running.py": {"told"},
    "ragguard/provenance/ledger.py": {"found"},
    "ragguard/provenance/verifying.py": {"found", "told"},
    "ragguard/retriever/observing.py": {"asked"},
    "ragguard/scan/running.py": {"found"},
}
"""Attributes and parameters that users have known since version 0.1."""


def bindings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of whatever gets a name, except in comprehensions and lambdas of at most two lines."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, COMPREHENSIONS) and (node.end_lineno or 0) - node.lineno < SHORT:
            continue
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        yield from bindings(node)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_value_has_a_vague_name(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    vague = VAGUE - PUBLIC.get(str(path), set())
    assert [f"{path}:{line}: {name}" for line, name in bindings(tree) if name.strip("_") in vague] == []


def test_the_rule_sees_every_kind_of_binding_and_leaves_short_comprehensions() -> None:
    code = "def told(one):\n  found = [made\n    for made\n    in one]\n  self.asked = lambda one: [one for one in found]\n"
    assert [name for _, name in bindings(ast.parse(code))] == ["told", "one", "found", "made", "asked"]
