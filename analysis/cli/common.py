"""Options and helpers that several commands use."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

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
End = Annotated[str, typer.Option("--end", help="First instant after the range (exclusive), UTC.")]

GapChoice = Annotated[
    Literal["raise", "mask", "ignore"],
    typer.Option("--on-gap", help="Where rows may be missing: stop, mark the rows, or use them as they are."),
]


MinGrade = Annotated[
    Literal["proved", "witnessed", "consistent", "claimed"] | None,
    typer.Option(
        "--min-grade", help="Least grade of an hour's certificate; lower ones and hours without one count as gaps."
    ),
]


class Context(NamedTuple):
    """Options that stand before the command."""

    config: Path | None
    debug: bool

    def settings(self) -> Settings:
        """Return the settings of the appliance."""
        return Settings.load(self.config)

    def database_url(self) -> str:
        """Return the address of the appliance's database, with the login that stores models and predictions.

        Raises:
            StoreUnavailable: The embedded server was never started.
            ConfigError: The address or its password cannot be read.
        """
        from analysis.load.postgres import PostgresSource
        from analysis.models.store import TRAINER

        return PostgresSource.of(self.settings(), TRAINER).url


def instant(text: str) -> datetime:
    """Return the instant that a person wrote; text without an offset is UTC.

    Raises:
        ConfigError: The text is not ISO 8601.
    """
    from analysis.load.source import to_instant

    return to_instant(text)


def source_of(context: Context, archive: Path | None) -> "Source":
    """Return the archive of `--from`, or the database of the settings."""
    from analysis.load import open_source
    from analysis.load.postgres import PostgresSource

    return open_source(archive) if archive is not None else PostgresSource.of(context.settings())


def pair(text: str) -> tuple[str, str]:
    """Split venue:symbol.

    Raises:
        ConfigError: The text has another form.
    """
    venue, colon, symbol = text.partition(":")
    if not (venue and colon and symbol):
        raise ConfigError(f"{text!r} is not of the form venue:symbol, such as kraken:BTC/USD")
    return venue, symbol
