"""Options that commands share, each in one form everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

INPUT, OUTPUT = "What it reads", "What it writes"
"""Panels of a command's help; what changes the work itself stays in the one of all options."""

FOUND = 4
"""Exit code of a command that looks for something, and found it; the table is in docs/cli.md."""

CACHE = Path.home() / ".cache" / "ragguard"

Model: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="A sentence-transformers model, else the offline one; or onnx:int8, onnx:fp32, torch:fp16 (also with :MODEL), "
        "or openai:NAME.",
        rich_help_panel=INPUT,
    ),
]
Corpus: TypeAlias = Annotated[
    list[Path], typer.Argument(help="Files of JSON lines with _id and text, or folders with corpus.jsonl.", show_default=False)
]
ManifestFile: TypeAlias = Annotated[Path, typer.Option(help="What ragguard manifest wrote.", rich_help_panel=INPUT)]
GuardFile: TypeAlias = Annotated[
    Path | None, typer.Option(help="What ragguard calibrate wrote, for the corpus.", rich_help_panel=INPUT)
]
PrivateKey: TypeAlias = Annotated[
    Path | None, typer.Option(help="Private key to sign with, as ragguard keygen makes it.", rich_help_panel=INPUT)
]
Trust: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(help="Public key that earlier generations may be signed with, too. Repeat for more.", rich_help_panel=INPUT),
]
Cache: TypeAlias = Annotated[
    Path,
    typer.Option(
        help="Folder of what is dear to compute, kept between runs; ~/.cache/ragguard unless given.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
Seed: TypeAlias = Annotated[int, typer.Option(min=0, help="Of the drawn queries and the attacks.")]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, and nothing else on stdout.", rich_help_panel=OUTPUT)
]
