"""`tapedeck replay --check`: whether the kept frames, decoded again, give the rows that are stored, hour by hour."""

from collections import defaultdict
from collections.abc import Sequence

from rich.table import Table

from recorder.appliance.embedded_postgres import database_url
from recorder.certify.database import opened
from recorder.certify.document import Certificate
from recorder.certify.make import Unsettled
from recorder.cli.certificates.made import Bar, hours_between, made_by_day, wanted_hours
from recorder.cli.common import console
from recorder.printable import printable
from recorder.process.screen import shown
from recorder.process.terminal import say, say_json
from recorder.settings import Settings
from recorder.store.database import WRITER
from recorder.venues import VENUES


def compare_stored(
    settings: Settings, feeds: Sequence[str], from_us: int, until_us: int, now_us: int, *, as_json: bool
) -> int:
    """Compare the stored rows of some feeds with their frames, print the verdicts, and return the exit code.

    Args:
        settings: Name the journals and the database.
        feeds: Their names in the settings.
        from_us: Begin, microseconds since 1970.
        until_us: End.
        now_us: The time.
        as_json: One JSON object for each hour of a stream, instead of a line for each stream.

    Raises:
        StoreError, ConfigError: The database failed.
        JournalError: A journal cannot be read.
    """
    hours = hours_between(from_us, until_us)
    found: list[Certificate] = []
    unsettled: list[Unsettled] = []
    for feed in feeds:
        with opened(database_url(settings, WRITER)) as database, Bar(shown=not as_json) as bar:
            if not database.streams(VENUES[feed].name):
                continue
            symbols, wanted = wanted_hours(database, feed, "", hours)
            for made in made_by_day(database, settings, feed, symbols, wanted, now_us, decode=True, progress=bar):
                found += made.certificates
                unsettled += made.unsettled
    if as_json:
        for one in found:
            say_json(
                {
                    "venue": one.venue, "symbol": one.symbol, "channel": one.channel, "hour": one.hour,
                    "rows": one.rows.stored, "verdict": one.replay, "differences": one.differences,
                }
            )  # fmt: skip
    else:
        _show(found)
    differing = sum(one.replay == "differs" for one in found)
    say(f"{len(found)} hours of streams: {len(found) - differing} equal, {differing} differ", err=True)
    if unsettled:
        say(f"{len(unsettled)} are not settled, such as: {unsettled[0].reason}", err=True)
    if not found:
        say("nothing was compared: no settled hour of these journals lies in this time", err=True)
    return 1 if differing or not found else 0


def _show(found: Sequence[Certificate]) -> None:
    streams: dict[tuple[str, str, str], list[Certificate]] = defaultdict(list)
    for one in found:
        streams[one.venue, one.symbol, one.channel].append(one)
    table = Table("venue", "symbol", "channel", box=None, pad_edge=False, header_style="bold")
    for name in ("rows", "hours equal", "hours that differ"):
        table.add_column(name, justify="right")
    for (venue, symbol, channel), some in streams.items():
        differing = sum(one.replay == "differs" for one in some)
        rows = sum(one.rows.stored for one in some)
        table.add_row(venue, shown(symbol), channel, f"{rows:,}", str(len(some) - differing), str(differing))
    console().print(table)
    for one in found:
        for line in one.differences:
            say(printable(f"{one.venue} {one.hour} {line}"))
