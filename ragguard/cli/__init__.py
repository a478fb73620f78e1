"""The command line. A command is a file of its name with a function of its name, or with COMMANDS, and EXAMPLES for its help."""

from __future__ import annotations

import sys
from typing import Annotated

from ragguard import __version__
from ragguard.errors import RAGGuardError
from ragguard.text.shown import visible

try:
    import typer

    from ragguard.cli import (
        audit,
        bench,
        calibrate,
        demo,
        doctor,
        ingest,
        keygen,
        manifest,
        quarantine,
        review,
        rollback,
        scan,
        serve,
        trace,
        verify,
    )
except ImportError as missing:
    raise SystemExit(f"the command line needs {missing.name}; run: pip install 'ragguard-defense[demo]'") from missing

COMMANDS = {
    "Look": (demo, doctor),
    "Guard": (scan, calibrate, ingest, serve, quarantine, review),
    "Trace": (audit, manifest, verify, trace, rollback, keygen),
    "Measure": (bench,),
}
"""By panel of the help, in the order in which a newcomer wants them."""

FAILED, WRONG = 1, 2
"""Exit codes, the same for all commands; the table is in docs/cli.md."""

app = typer.Typer(
    name="ragguard",
    help="A guard around any retriever against poisoned documents.",
    epilog="Start with: ragguard demo\n\n"
    "Exit codes: 0 done, 1 failed, 2 wrong option, 3 done in part, 4 found something, 130 interrupted.",
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for panel, modules in COMMANDS.items():
    for module in modules:
        name = module.__name__.rpartition(".")[2]
        examples = "\n".join(("[bold]Examples[/bold]", *module.EXAMPLES))
        if hasattr(module, "COMMANDS"):
            group = typer.Typer(help=module.HELP, epilog=examples, no_args_is_help=True)
            for command, function in module.COMMANDS.items():
                group.command(command)(function)
            app.add_typer(group, name=name, rich_help_panel=panel)
        else:
            app.command(name, rich_help_panel=panel, epilog=examples)(getattr(module, name))


def main() -> None:
    """Run the command line; what goes wrong is told in one line on stderr."""
    try:
        raise SystemExit(app(prog_name="ragguard", standalone_mode=False))
    except RAGGuardError as error:
        raise SystemExit(_report_error(FAILED, str(error))) from None
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "ragguard"
        raise SystemExit(_report_error(WRONG, f"{error.format_message()} (see {where} --help)")) from None


def _report_error(code: int, message: str) -> int:
    print(f"ragguard: {visible(' '.join(message.split()))}", file=sys.stderr)  # noqa: T201  names of files are hostile, too
    return code


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False
) -> None:
    if version:
        typer.echo(f"ragguard {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())
    else:
        return
    raise typer.Exit
