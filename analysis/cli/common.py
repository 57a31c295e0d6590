"""What commands share: options given before the command, instants, and tables for a person."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from recorder.errors import ConfigError
from recorder.settings import Settings

if TYPE_CHECKING:
    from analysis.load import Source

Venue = Annotated[str, typer.Argument(help="Name of the venue, such as kraken.")]
Symbols = Annotated[list[str], typer.Argument(help="Symbols in the venue's own spelling.")]
From = Annotated[
    Path | None, typer.Option("--from", help="A Parquet archive; without it, the database of the settings.")
]
Start = Annotated[str, typer.Option("--start", help="First instant, UTC: 2026-03-05 or 2026-03-05T14:00.")]
End = Annotated[str, typer.Option("--end", help="First instant after, UTC.")]

GapChoice = Annotated[
    Literal["raise", "mask", "ignore"],
    typer.Option("--on-gap", help="Where the tape may be incomplete: stop, mark the rows, or take them as they are."),
]

_SHOWN = 40


class Context(NamedTuple):
    """Options that stand before the command."""

    config: Path | None
    debug: bool

    def settings(self) -> Settings:
        """The settings of the appliance."""
        return Settings.load(self.config)

    def database_url(self) -> str:
        """The database of the appliance.

        Raises:
            StoreUnavailable: the embedded server was never started.
            ConfigError: the address or its password cannot be read.
        """
        from analysis.load.postgres import PostgresSource

        return PostgresSource.of(self.settings()).url


def instant(text: str) -> datetime:
    """A UTC instant as a person writes it; a text without an offset is UTC.

    Raises:
        ConfigError: it is no ISO 8601 date or time.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no time; write it like 2026-03-05 or 2026-03-05T14:00:00") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def source_of(context: Context, archive: Path | None) -> "Source":
    """The archive that was named, or the database of the settings."""
    from analysis.load import open_source
    from analysis.load.postgres import PostgresSource

    return open_source(archive) if archive is not None else PostgresSource.of(context.settings())


def pair(text: str) -> tuple[str, str]:
    """venue:symbol in two.

    Raises:
        ConfigError: it is none.
    """
    venue, colon, symbol = text.partition(":")
    if not (venue and colon and symbol):
        raise ConfigError(f"{text!r} is no venue:symbol, such as kraken:BTC/USD")
    return venue, symbol


def show(table: Any, columns: Sequence[str]) -> None:
    """Print columns of an Arrow table, and of a long one its first rows."""
    shown = Table(*columns)
    for row in table.select(columns).slice(0, _SHOWN).to_pylist():
        shown.add_row(*(_cell(value) for value in row.values()))
    console().print(shown)
    if table.num_rows > _SHOWN:
        typer.echo(f"the first {_SHOWN} of {table.num_rows:,} rows; --out writes all")


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")[:19]
    return f"{value:.8g}" if isinstance(value, float) else str(value)


def console(stderr: bool = False) -> Console:
    """Where tables and progress go; plain text when it is no terminal."""
    plain = not (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, highlight=False, width=140 if plain else None)
