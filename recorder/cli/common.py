"""Helpers of all commands: options given before the command, settings, venues, and the console."""

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from recorder.errors import ConfigError
from recorder.process.screen import Screen, open_screen
from recorder.process.terminal import say
from recorder.settings import Settings, VenueSettings
from recorder.venues import VENUES, venue_class
from recorder.venues.base import Venue

STDERR = 2
PLAIN_WIDTH = 140  # columns of a table that goes to a file or a pipe without COLUMNS


class Context(NamedTuple):
    """Options that stand before the command."""

    config: Path | None
    debug: bool
    warns: bool = False  # about variables that have no effect

    def settings(self) -> Settings:
        """Load the settings, with --debug applied.

        Raises:
            ConfigError: a value is wrong, or a venue has a name that does not exist.
        """
        settings = Settings.load(self.config)
        for name in settings.venues:
            venue_class(name)
        if self.warns:
            for warning in settings.warnings:
                say(f"tapedeck: {warning}", err=True)
        if not self.debug:
            return settings
        return settings.with_log(settings.log.model_copy(update={"debug": True}))

    def log_to_stderr(self, settings: Settings, program: str) -> None:
        """Send the log to standard error, because standard output is for the answer."""
        from recorder.process.log import configure  # with structlog, which most commands do without

        configure(settings.log, program, fd=STDERR)


def console(stderr: bool = False) -> Screen:
    """Return the console for tables and progress; it prints plain text when its stream is not a terminal."""
    return open_screen(stderr=stderr, plain_width=PLAIN_WIDTH)


def complete_venue(incomplete: str) -> list[str]:
    """Return the venues that begin like this, for shell completion."""
    return [name for name in VENUES if name.startswith(incomplete)]


def venue_settings(settings: Settings, name: str) -> VenueSettings:
    """Return the settings of a venue, or the defaults where the file does not name it.

    Raises:
        ConfigError: no venue has this name.
    """
    venue_class(name)
    return settings.venues.get(name, VenueSettings())


def make_venue(settings: Settings, name: str) -> Venue:
    """Make a venue as the settings describe it.

    Raises:
        ConfigError: no venue has this name, it has an option that does not exist, or a setting is above its limit.
    """
    from recorder.instruments import configured  # most commands do without it

    return configured.make_venue(name, venue_settings(settings, name))


def require_symbols(symbols: list[str]) -> None:
    """Refuse what cannot be a symbol at any venue, such as an empty word or one with spaces."""
    for symbol in symbols:
        if not symbol or symbol != symbol.strip() or any(c.isspace() for c in symbol):
            raise ConfigError(f"{symbol!r} is not a symbol; write it as the venue does, such as BTC-USD or BTC/USD")


def instant_of(option: str, text: str | None) -> int | None:
    """Return the nanoseconds of an ISO 8601 instant, which is UTC without an offset.

    Raises:
        ConfigError: The text is not an instant.
    """
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text!r} is not an instant; write it like 2026-11-21T13:30:00Z") from None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return int(instant.timestamp()) * 10**9 + instant.microsecond * 1000
