"""What commands share: options given before the command, instants, and tables for a person."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console

from recorder.errors import ConfigError
from recorder.settings import Settings

Venue = Annotated[str, typer.Argument(help="Name of the venue, such as kraken.")]
Symbols = Annotated[list[str], typer.Argument(help="Symbols in the venue's own spelling.")]
From = Annotated[
    Path | None, typer.Option("--from", help="A Parquet archive; without it, the database of the settings.")
]
Start = Annotated[str, typer.Option("--start", help="First instant, UTC: 2026-03-05 or 2026-03-05T14:00.")]
End = Annotated[str, typer.Option("--end", help="First instant after, UTC.")]


class Context(NamedTuple):
    """Options that stand before the command."""

    config: Path | None
    debug: bool

    def settings(self) -> Settings:
        """The settings of the appliance."""
        return Settings.load(self.config)


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


def console(stderr: bool = False) -> Console:
    """Where tables and progress go; plain text when it is no terminal."""
    plain = not (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, highlight=False, width=140 if plain else None)
