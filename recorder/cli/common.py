"""What commands share: options given before the command, and the way to the settings and the database."""

import sys
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from recorder import recorder
from recorder.errors import ConfigError
from recorder.log import configure
from recorder.settings import Settings, VenueSettings
from recorder.venues import venue_class
from recorder.venues.base import Venue


class Context(NamedTuple):
    """Options that stand before the command."""

    config: Path | None
    debug: bool

    def settings(self) -> Settings:
        """The settings, with --debug applied."""
        settings = Settings.load(self.config)
        if not self.debug:
            return settings
        return settings.with_log(settings.log.model_copy(update={"debug": True}))

    def log_to_stderr(self, settings: Settings, program: str) -> None:
        """Standard output is for the answer; the log goes beside it."""
        configure(settings.log, program, fd=sys.stderr.fileno())


def console(stderr: bool = False) -> Console:
    """Where tables and progress go; plain text when it is no terminal."""
    plain = not (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, highlight=False, width=140 if plain else None)


def venue_settings(settings: Settings, name: str) -> VenueSettings:
    """The settings of a venue; the defaults where the file does not name it.

    Raises:
        ConfigError: no venue has this name.
    """
    venue_class(name)
    return settings.venues.get(name, VenueSettings())


def make_venue(settings: Settings, name: str) -> Venue:
    """A venue as the settings want it.

    Raises:
        ConfigError: no venue has this name, it is not recorded yet, or it has an option nobody knows.
    """
    return recorder.make_venue(name, venue_settings(settings, name))


def require_symbols(symbols: list[str]) -> None:
    """Refuse what can be no symbol anywhere: a typo of the shell rather than of the market."""
    for symbol in symbols:
        if not symbol or symbol != symbol.strip() or any(c.isspace() for c in symbol):
            raise ConfigError(f"{symbol!r} is no symbol; write it as the venue does, such as BTC-USD or BTC/USD")
