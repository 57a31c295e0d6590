"""Makes certificates for the commands: which hours of which streams, a day at a time, and their progress."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from recorder.certify.database import Database, instant
from recorder.certify.document import HOUR_US, Certificate, hour_text
from recorder.certify.make import SETTLED_US, Maker, Unsettled
from recorder.certify.tape import StreamHour
from recorder.cli.common import console, make_venue
from recorder.errors import ConfigError
from recorder.events import CHANNELS
from recorder.settings import Settings
from recorder.venues import VENUES

DAY_US = 24 * HOUR_US
_HOURS_MAX = 24 * 400


class Made(NamedTuple):
    """Certificates without a place in the chain, and the hours that are not settled."""

    certificates: list[Certificate]
    unsettled: list[Unsettled]


def hours_between(start_us: int, end_us: int) -> list[int]:
    """Return the begins of the hours that lie completely in a time, microseconds since 1970.

    Raises:
        ConfigError: There is none, or there are too many.
    """
    first = -(-start_us // HOUR_US) * HOUR_US
    hours = list(range(first, end_us - HOUR_US + 1, HOUR_US))
    if not hours:
        raise ConfigError("no complete hour lies in this time")
    if len(hours) > _HOURS_MAX:
        raise ConfigError(f"{len(hours):,} hours are too many for one call; take {_HOURS_MAX:,} at most")
    return hours


def over_hours(hours: list[int], now_us: int) -> tuple[list[int], str]:
    """Return the hours that are over for long enough to be certified, and in one sentence which are not.

    Raises:
        ConfigError: None is over.
    """
    left = [hour for hour in hours if _settled_us(hour) > now_us]
    if not left:
        return hours, ""
    names = f"the hour {_clock(left[0])} is" if len(left) == 1 else f"the hours from {_clock(left[0])} on are"
    sentence = f"{names} not over; certify after {_clock(_settled_us(left[-1]))}"
    if len(left) == len(hours):
        raise ConfigError(sentence)
    return hours[: -len(left)], sentence


def _settled_us(hour: int) -> int:
    return hour + HOUR_US + SETTLED_US


def _clock(at_us: int) -> str:
    return f"{instant(at_us):%Y-%m-%d %H:%M} UTC"


def wanted_hours(
    database: Database, venue: str, symbol: str, hours: list[int]
) -> tuple[dict[int, str], list[StreamHour]]:
    """Return the symbols by instrument, and the hours of all channels of these streams.

    Raises:
        ConfigError: The instrument was never recorded.
    """
    symbols = database.streams(VENUES[venue].name, symbol)
    if not symbols:
        what = f"{venue} {symbol}".strip()
        raise ConfigError(f"nothing of {what} was recorded; `tapedeck symbols {venue}` lists what it trades")
    return symbols, [StreamHour(one, channel, hour) for hour in hours for one in symbols for channel in CHANNELS]


def made_by_day(
    database: Database, settings: Settings, venue: str, symbols: dict[int, str], wanted: list[StreamHour],
    now_us: int, *, decode: bool, progress: Callable[[str, int, int], None],
) -> Iterator[Made]:  # fmt: skip
    """Yield the certificates of each day: the rows of a day at most are in memory."""
    for day in sorted({key.begin_us // DAY_US for key in wanted}):
        some = [key for key in wanted if key.begin_us // DAY_US == day]

        def named(journal: str, done: int, total: int, day: int = day) -> None:
            progress(f"{journal} {hour_text(day * DAY_US)[:10]}", done, total)

        database.snapshot()
        maker = Maker(
            database, settings.journal.dir, venue, make_venue(settings, venue), decode=decode, progress=named
        )  # fmt: skip
        yield Made(*maker.make(symbols, some, now_us))


class Bar:
    """Shows on standard error how much of a journal is read, when that is a terminal.

    Args:
        shown: False shows nothing.
    """

    def __init__(self, *, shown: bool) -> None:
        err = console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
            console=err, transient=True, disable=not (shown and err.is_terminal),
        )  # fmt: skip
        self._task = self._bar.add_task("certify", total=None)
        self._name = ""

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show how many bytes of a journal are read."""
        if name != self._name:
            self._name = name
            self._bar.reset(self._task, total=total, description=name)
        self._bar.update(self._task, completed=done)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
