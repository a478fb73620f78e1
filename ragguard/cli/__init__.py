"""The command line: one file a command."""

from __future__ import annotations

from typing import Annotated

from ragguard import __version__
from ragguard.errors import RAGGuardError

try:
    import typer

    from ragguard.cli.bench import bench
    from ragguard.cli.calibrate import calibrate
    from ragguard.cli.demo import demo
    from ragguard.cli.ingest import ingest
    from ragguard.cli.show import console
except ImportError as missing:
    raise SystemExit(f"the command line needs {missing.name}; run: pip install 'ragguard-defense[demo]'") from missing

app = typer.Typer(
    name="ragguard",
    help="A guard around any retriever against poisoned documents.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
for command in (demo, bench, calibrate, ingest):
    app.command()(command)


def main() -> None:
    """Run the command line; an error of RAGGuard's ends in one line and exit code 1."""
    try:
        app()
    except RAGGuardError as error:
        raise SystemExit(f"ragguard: {error}") from None


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    if version:
        console.print(f"ragguard {__version__}")
        raise typer.Exit
