"""`ragguard quarantine`: a group of commands, each a function of its name."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ragguard.cli.options import INPUT, AsJson
from ragguard.cli.show import console
from ragguard.errors import InvalidInputError
from ragguard.text.shown import cut, in_line, marked

if TYPE_CHECKING:
    from ragguard.quarantine import Entry, Grounds, Quarantine

HELP = "Look at what is in quarantine, and decide about it."
EXAMPLES = (
    "ragguard quarantine list --quarantine quarantine.db --state held",
    "ragguard quarantine show 1f5c9a02be61 --quarantine quarantine.db",
    "ragguard quarantine release 1f5c9a02be61 --actor Ada --reason 'Quotes an attack.' --quarantine quarantine.db",
    "ragguard quarantine confirm 1f5c9a02be61 --actor Ada --reason 'Orders the model about.' --quarantine quarantine.db",
    "ragguard quarantine check --quarantine quarantine.db",
)

STYLE = {"held": "yellow", "confirmed": "bold red", "released": "green"}
LENGTH = 60
"""Characters of a name or a reason in the list."""

Kept: TypeAlias = Annotated[
    str,
    typer.Option(
        "--quarantine", help="SQLite file, or an URL such as postgresql+psycopg://user@host/name.", rich_help_panel=INPUT
    ),
]
Key: TypeAlias = Annotated[str, typer.Argument(help="Of the text, or its first characters, at least eight.")]
Actor: TypeAlias = Annotated[str, typer.Option(help="Who decides.")]
Reason: TypeAlias = Annotated[str, typer.Option(help="Why, in a sentence.")]


def opened(database: str) -> Quarantine:
    """A quarantine that is there.

    Raises:
        InvalidInputError: If a package is missing.
        StoreError: If there is none, or it cannot be opened.
    """
    try:
        from ragguard.quarantine import Quarantine
    except ImportError as missing:
        raise InvalidInputError(str(missing)) from missing
    return Quarantine(database, make=False)


def list_(
    quarantine: Kept,
    state: Annotated[
        Literal["held", "confirmed", "released"] | None, typer.Option(help="Only what is held, confirmed, or released.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Only what this one put away, such as guard or scan.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="That many at most, what came last first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the texts that are in quarantine, or were."""
    with opened(quarantine) as kept:
        counts, entries = kept.counts(), kept.entries(state, by, limit=limit)
    if as_json:
        typer.echo(json.dumps({"counts": counts, "entries": [_plain(entry) for entry in entries]}))
        return
    table = Table()
    for column in ("key", "state", "document", "by", "why"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        latest = entry.grounds[-1]
        about, by_whom, why = (
            Text(in_line(cut(text, LENGTH))) for text in (latest.document.id, entry.history[0].actor, latest.verdict.reason)
        )
        table.add_row(entry.key[:12], Text(entry.state, STYLE[entry.state]), about, by_whom, why)
    if entries:
        console.print(table)
    console.print(", ".join(f"{count:,} {name}" for name, count in counts.items()))


def show(key: Key, quarantine: Kept, as_json: AsJson = False) -> None:
    """Show one text: why it was put away, with what it is about marked, and who decided what."""
    with opened(quarantine) as kept:
        entry = kept.show(key)
    if as_json:
        typer.echo(json.dumps(_plain(entry)))
        return
    console.print(Text.assemble((entry.state, STYLE[entry.state]), f"  {entry.key}"))
    for grounds in entry.grounds:
        _show(grounds)
    console.print("\n[bold]History[/bold]")
    for event in entry.history:
        line = f"{event.at:%Y-%m-%d %H:%M:%S} {event.what} by {in_line(event.actor)}: {in_line(event.reason)}"
        console.print(Text(line), soft_wrap=True)


def release(key: Key, quarantine: Kept, actor: Actor, reason: Reason, as_json: AsJson = False) -> None:
    """Let a text be retrieved again. Exit code 1 if there is none, or it is released already."""
    with opened(quarantine) as kept:
        _decided(kept.release(key, actor, reason), as_json)


def confirm(key: Key, quarantine: Kept, actor: Actor, reason: Reason, as_json: AsJson = False) -> None:
    """Say that a text must never be retrieved. Exit code 1 if there is none, or it is confirmed already."""
    with opened(quarantine) as kept:
        _decided(kept.confirm(key, actor, reason), as_json)


def check(
    quarantine: Kept,
    head: Annotated[str | None, typer.Option(help="What an earlier check printed: the history must have it.")] = None,
    as_json: AsJson = False,
) -> None:
    """See that all is as it was written. Exit code 1 if something is damaged, forged, missing or rolled back."""
    with opened(quarantine) as kept:
        counts, current_head = kept.counts(), kept.check(head)
    if as_json:
        typer.echo(json.dumps({"counts": counts, "head": current_head}))
        return
    console.print(f"{sum(counts.values()):,} texts, as they were written.")
    console.print(f"Remember the head: {current_head}", soft_wrap=True)


COMMANDS = {"list": list_, "show": show, "release": release, "confirm": confirm, "check": check}


def _show(grounds: Grounds) -> None:
    document, verdict = grounds.document, grounds.verdict
    signals = ", ".join(f"{name} {value:.3g}" for name, value in verdict.signals.items())
    facts = {
        "document": document.id,
        "metadata": json.dumps(document.metadata, ensure_ascii=False),
        "removed by": verdict.defense,
        "why": verdict.reason,
        "signals": signals,
        "query": grounds.query or "",
    }
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        if value:
            table.add_row(Text(name, "dim"), Text(in_line(value)))
    console.print("", table, "")
    console.print(Panel(Text(marked(document.text, verdict.spans)), title="Text", title_align="left"))


def _decided(entry: Entry, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_plain(entry)))
    else:
        console.print(Text(f"{entry.key[:12]} is {entry.state}."))


def _plain(entry: Entry) -> dict[str, Any]:
    plain = asdict(entry)
    for event in plain["history"]:
        event["at"] = event["at"].isoformat()
    return plain
