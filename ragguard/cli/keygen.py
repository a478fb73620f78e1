"""`ragguard keygen`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ragguard.cli.options import AsJson
from ragguard.cli.show import console

EXAMPLES = ("ragguard keygen manifest.key",)


def keygen(
    private: Annotated[Path, typer.Argument(help="File of the private key; the public one is written beside it, with .pub.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Make a pair of Ed25519 keys to sign manifests with.

    The private key is not encrypted: only its owner can read the file. It is never shown. No file is overwritten.
    """
    from ragguard.provenance import keys

    public = private.with_name(f"{private.name}.pub")
    public_key = keys.generate(private, public)
    if as_json:
        typer.echo(json.dumps({"private": str(private), "public": str(public), "key": public_key}))
        return
    console.print(f"Wrote {private} (keep it) and {public} (give it to those who verify).", soft_wrap=True, markup=False)
    console.print(f"The public key is {public_key}.", soft_wrap=True, markup=False)
