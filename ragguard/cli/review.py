"""`ragguard review`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ragguard.cli.listening import LISTEN, LOOPBACK, listen, url
from ragguard.cli.options import AsJson
from ragguard.cli.quarantine import Kept, opened
from ragguard.cli.show import console
from ragguard.errors import InvalidInputError

EXAMPLES = ("ragguard review --quarantine quarantine.db",)

PORT = 8378


def review(
    quarantine: Kept,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.", rich_help_panel=LISTEN)] = PORT,
    as_json: AsJson = False,
) -> None:
    """Show a quarantine in a browser on this machine, and decide there. Runs until it is interrupted.

    It has no login: whoever works on this machine can open it, and signs with any name.
    """
    with opened(quarantine) as kept:
        try:
            import uvicorn

            from ragguard.review.app import application
        except ImportError as missing:
            raise InvalidInputError(f"the page needs {missing.name}; run: pip install 'ragguard-defense[serve]'") from missing
        listening = listen(LOOPBACK, port)
        if as_json:
            typer.echo(json.dumps({"url": url(listening), "quarantine": kept.name, **kept.counts()}))
        else:
            console.print(f"{kept.name}: open {url(listening)} in a browser. End it with Ctrl-C.", markup=False, soft_wrap=True)
        config = uvicorn.Config(application(kept), log_config=None, access_log=False, server_header=False)
        uvicorn.Server(config).run(sockets=[listening])
