"""Which versions of the framework this package is made for; checked before anything else is imported."""

from __future__ import annotations

import re
from importlib.metadata import version

LEAST, BELOW = (0, 13), (0, 15)
"""As in pyproject.toml, where pip reads them; a `--no-deps` install or a later upgrade gets past pip."""


def check() -> None:
    """Refuse a LlamaIndex that the guard was never tested with: it might follow pointers after the guard, or around it.

    Raises:
        ImportError: If llama-index-core is older or newer than what is supported.
    """
    installed = version("llama-index-core")
    if not LEAST <= tuple(int(part) for part in re.findall(r"\d+", installed)[:2]) < BELOW:
        wanted = f"llama-index-core>={_dotted(LEAST)},<{_dotted(BELOW)}"
        raise ImportError(f"llama-index-retrievers-ragguard needs {wanted}, not {installed}: pip install '{wanted}'")


def _dotted(parts: tuple[int, int]) -> str:
    return ".".join(map(str, parts))
