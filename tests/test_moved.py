"""Every public name of version 0.1 is where it was, or says where it is now."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from ragguard import _moved

NAMES = json.loads((Path(__file__).parent / "data" / "public_names_0.1.json").read_text(encoding="utf-8"))
"""Module to names, as commit 105892b defines them (packages: as they re-export them)."""


@pytest.mark.filterwarnings("ignore:ragguard:DeprecationWarning")
@pytest.mark.parametrize("module", NAMES)
def test_every_public_name_is_found_where_it_was(module: str) -> None:
    if module == "ragguard.ingest.with_ray":
        pytest.importorskip("ray")
    home = import_module(module)
    assert [name for name in NAMES[module] if not hasattr(home, name)] == []


@pytest.mark.parametrize("old", _moved.MODULES)
def test_an_old_module_warns_and_is_the_new_one(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {_moved.MODULES[old]}") as caught:
        module = import_module(old)
    assert caught[0].filename.endswith("importlib/__init__.py")  # `import_module` is who imports it here
    assert module is import_module(_moved.MODULES[old])


@pytest.mark.filterwarnings("ignore:ragguard.* is now ragguard:DeprecationWarning")
@pytest.mark.parametrize(("old", "name"), _moved.NAMES)
def test_an_old_name_warns_and_is_the_very_same(old: str, name: str) -> None:
    module = import_module(old)
    home, now = _moved.NAMES[old, name]
    with pytest.warns(DeprecationWarning, match=f"{old}.{name} is now {home}.{now}") as caught:
        value = getattr(module, name)
    assert caught[0].filename == __file__
    assert value is getattr(import_module(home), now)


def test_the_warning_names_the_line_of_whoever_imports(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import ragguard\nfrom ragguard.store import MemoryStore\nfrom ragguard import deadline\n", encoding="utf-8"
    )
    command = [sys.executable, "-W", "default::DeprecationWarning", str(program)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert f"{program}:2: DeprecationWarning: ragguard.store is now ragguard.evidence.memory_store" in said
    assert f"{program}:3: DeprecationWarning: ragguard.deadline is now ragguard.retriever.deadline" in said


def test_what_never_was_is_no_module() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"ragguard\.nothing"):
        import_module("ragguard.nothing")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = import_module("ragguard.signals.surprise").nothing
