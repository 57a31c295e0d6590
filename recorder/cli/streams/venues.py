"""`tapedeck venues`: what can be recorded, and what proves that nothing is missing."""

from typing import Annotated

import msgspec
import typer
from rich.text import Text

from recorder.cli.common import console
from recorder.printable import masked_url
from recorder.process.terminal import say_json
from recorder.settings import Settings
from recorder.venues import VENUES
from recorder.venues.evidence import EVIDENCE


class VenueRow(msgspec.Struct):
    """One venue as the command shows it."""

    venue: str
    channels: tuple[str, ...]
    evidence: str  # of completeness
    recorded: bool  # by the appliance of these settings
    symbols: int  # in the settings; the table subscription may list others
    url: str
    rest_url: str


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(venues)


def venues(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False
) -> int:
    """List the venues: their channels, what proves completeness, whether the settings record them, and their endpoints.

    Example: `tapedeck --config live venues`
    """
    rows = venue_rows(context.obj.settings())
    if as_json:
        for row in rows:
            say_json(row)
        return 0
    screen = console()
    for row in rows:
        state = f"recorded, {row.symbols} symbols in the settings" if row.recorded else "not recorded"
        screen.print(Text.assemble((row.venue, "bold"), f": {state}"))
        for name, text in (
            ("channels", ", ".join(row.channels)),
            ("evidence", row.evidence),
            ("endpoint", row.url),
            ("REST", row.rest_url),
        ):
            screen.print(f"  {name:<9} {text}", soft_wrap=True)
    return 0


def venue_rows(settings: Settings) -> list[VenueRow]:
    """Return all venues with what these settings make of them."""
    rows = []
    for name, kind in sorted(VENUES.items()):
        own = settings.venues.get(name)
        rows.append(
            VenueRow(
                name,
                tuple(kind.channels),
                EVIDENCE[name],
                own is not None and own.enabled,
                len(own.symbols) if own is not None else 0,
                masked_url((own and own.url) or kind.url),
                masked_url((own and own.rest_url) or kind.rest_url),
            )
        )
    return rows
