"""Helpers of all commands: options given before the command, settings, venues, and the console."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from recorder.appliance.hints import hint
from recorder.errors import ConfigError, StoreUnavailable
from recorder.printable import printable
from recorder.process.screen import Screen, fold, open_screen
from recorder.process.terminal import say
from recorder.settings import Settings, VenueSettings
from recorder.settings.groups import Level
from recorder.venues import VENUES, venue_class
from recorder.venues.base import Venue

STDERR = 2
_BEHIND_S = 10.0
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

    def log_to_stderr(self, settings: Settings, program: str, level: Level | None = None) -> None:
        """Send the log to standard error, because standard output is for the answer.

        Args:
            settings: Of the log.
            program: Its name in the log.
            level: The lowest that is written, where the command says the rest itself; --debug writes all.
        """
        from recorder.process.log import configure  # with structlog, which most commands do without

        log = settings.log if level is None else settings.log.model_copy(update={"level": level})
        configure(log, program, fd=STDERR)


def console(stderr: bool = False) -> Screen:
    """Return the console for tables and progress; it prints plain text when its stream is not a terminal."""
    return open_screen(stderr=stderr, plain_width=PLAIN_WIDTH)


def say_folded(text: str, *, err: bool = False, indent: str = "  ") -> None:
    """Print a line in lines of the width of the terminal; all but the first are indented."""
    for line in fold(printable(text), console(stderr=err).width, indent):
        say(line, err=err)


def counted(count: int, one: str, several: str = "") -> str:
    """Return a number with its noun, such as "1 answer" or "1,200 answers"."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def unreachable(settings: Settings, error: StoreUnavailable) -> str:
    """Return that the database cannot be reached, why, and what to do next.

    Args:
        settings: Name the database.
        error: What a connection or a statement met.
    """
    from recorder.appliance.supervisor import Supervisor  # most commands do without it

    if settings.database.url is not None:
        return f"the database cannot be reached: {error}; start it, or correct DATABASE_URL (`tapedeck doctor` checks)"
    if Supervisor(settings.home).pid() is None:
        return (
            f"the database cannot be reached: the appliance in {settings.home} is not running; {hint('up')} starts it"
        )
    return f"the database cannot be reached: {error}; {hint('status')} shows how the appliance is"


def behind(settings: Settings) -> str:
    """Return that the database does not have all that was recorded, and how much is missing; "" where it has.

    Args:
        settings: Name the home, whose writer reports, and the journals.
    """
    from recorder.process.health import WriterFigures, read_all  # most commands do without it

    report = read_all(settings.home).get("writer")
    if report is None or report.stale(time.time()):
        if not any(settings.journal.dir.glob("*/journal.id")):
            return ""  # a database that another machine fills
        return "no writer runs, so what was recorded last may be missing here"
    figures = report.figures
    if not isinstance(figures, WriterFigures):
        return ""
    lag_s = max((one.lag_s for one in figures.journals.values()), default=0.0)
    if figures.database != "up" or lag_s > _BEHIND_S:
        return f"the database is {lag_s:.0f} s behind the journals: what is newer is not here yet"
    return ""


def say_behind(settings: Settings) -> None:
    """Print on standard error how far the database is behind, where it is: an answer from it may lack the latest."""
    text = behind(settings)
    if text:
        say_folded(f"tapedeck: {text}", err=True)


def require_database(settings: Settings) -> None:
    """Require a database that answers, for a command that would find out late.

    Raises:
        StoreUnavailable: It does not.
    """
    from recorder.appliance.embedded_postgres import database_url
    from recorder.store.database import READER, connect

    connect(database_url(settings, READER), application_name="tapedeck").close()


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


def instant_ns(option: str, text: str | None) -> int | None:
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
