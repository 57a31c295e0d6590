"""`tapedeck backfill`: past trades or candles of a venue, by the running poller or in this process."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from recorder.appliance.embedded_postgres import database_url
from recorder.appliance.processes import wait_until
from recorder.backfill.database import opened
from recorder.backfill.progress import Asked, What
from recorder.backfill.progress import Progress as Done
from recorder.cli.common import complete_venue, console, counted, instant_ns, require_symbols, say_folded
from recorder.cli.polls.poll import run_here, running
from recorder.cli.streams.symbols import check_symbols
from recorder.clock import SystemClock
from recorder.errors import ConfigError
from recorder.healer.verdict import SETTLED_NS
from recorder.instruments.patterns import is_pattern
from recorder.poller.backfilling.configured import NAME, backfill_job, backfill_sources
from recorder.poller.backfilling.job import Backfilling
from recorder.poller.jobs import jobs_of
from recorder.poller.journal import RunRow
from recorder.printable import printable
from recorder.process.terminal import say, say_json
from recorder.settings import Settings
from recorder.store.database import WRITER
from recorder.timestamps import EARLIEST_NS
from recorder.venues import VENUES, venue_class

_NS = 10**9
_MINUTE_NS = 60 * _NS
_LATEST_NS = 2 * _MINUTE_NS  # before now: the history of a venue is behind its feed
_ONE_YEAR_S = 366 * 86_400.0


class BackfillLine(msgspec.Struct):
    """One backfill as it is printed."""

    venue: str
    symbol: str
    what: str
    since: datetime
    until: datetime
    state: str  # as in backfill_range; "asked" before the first page
    grade: str | None
    reason: str | None
    read_since: datetime  # what was read so far
    read_until: datetime
    listed: int
    controls: int
    missing: int
    answers: int

    @classmethod
    def of(cls, asked: Asked, done: Done | None, *, rising: bool) -> "BackfillLine":
        """Return the line of a backfill."""
        known = done or Done(rising)
        known.rising = rising
        begin, end = map(_instant, known.span(asked))
        return cls(
            asked.venue, asked.symbol, asked.what, _instant(asked.since_ns), _instant(asked.until_ns),
            "asked" if done is None else done.state, known.grade, known.reason, begin, end, known.listed,
            known.controls, known.missing, known.answers,
        )  # fmt: skip

    @property
    def sentence(self) -> str:
        """What became of it, for a person."""
        graded = f", {self.grade}" if self.grade else ""
        reason = f" ({printable(self.reason)})" if self.reason else ""
        return (
            f"{self.venue} {printable(self.symbol)} {self.what} {self.since:%Y-%m-%d %H:%M:%S} to "
            f"{self.until:%Y-%m-%d %H:%M:%S}: {self.state}{graded}{reason}; read {self.read_since:%m-%d %H:%M:%S} to "
            f"{self.read_until:%m-%d %H:%M:%S}: {self.listed:,} listed in {counted(self.answers, 'answer')}, "
            f"{self.controls:,} of them stored before, {counted(self.missing, 'id')} missing"
        )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(backfill)


def backfill(
    context: typer.Context,
    venue: Annotated[
        str, typer.Argument(help="Name of the venue, such as kraken.", autocompletion=complete_venue)
    ] = "",
    symbol: Annotated[str, typer.Argument(help="Symbol as the venue writes it, or a canonical name (BTC-USD).")] = "",
    start: Annotated[
        str | None,
        typer.Option("--start", metavar="INSTANT", help="Begin, UTC, such as 2026-11-01 or 2026-11-01T12:00."),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--end", metavar="INSTANT", help="End, UTC, excluded. Default: two minutes ago.")
    ] = None,
    what: Annotated[
        str, typer.Option("--what", metavar="WHAT", help="trades, or candles: the venue's own minutes.")
    ] = "trades",
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Withdraw what is asked for and not read to its end.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> int:
    """Read past trades or candles of a venue; without --start, list what was asked for.

    Trades enter table trade, and candles table venue_bar: bars of our own are made of trades only. Every answer is kept
    in the journal before it is used. What live recording and healing leave of the venue's request budget is used.

    The running poller reads it, and goes on when this command is interrupted or the machine starts again; without a
    poller this command reads. The same command goes on where the last one was. Trades that are stored already must be
    listed with the same values, and are not stored twice.

    Where the ids of a venue rise by one, a time is proved when they follow each other from before it to after it; ids
    that are not listed are declared as gaps, which `tapedeck heal` reads again.

    Exit code: 0 when all of it was read, 1 when the history is short or an answer proves nothing.

    Examples:

    `tapedeck backfill kraken BTC/USD --start 2026-11-01 --end 2026-11-08`

    `tapedeck backfill binance BTCUSDT --start 2026-11-01 --what candles`

    `tapedeck backfill`
    """
    options = context.obj
    settings = options.settings()
    if venue:
        venue_class(venue)
    if withdraw:
        if start is not None or end is not None:
            raise ConfigError("--withdraw takes a venue and a symbol, and no times")
        with opened(database_url(settings, WRITER)) as database:
            withdrawn = database.withdraw(venue, symbol)
        if venue and not withdrawn:
            raise ConfigError("no backfill of these goes on; `tapedeck backfill` lists all")
        say(f"{withdrawn} withdrawn")
        return 0
    if start is None:
        if end is not None or (symbol and what != "trades"):
            raise ConfigError("--start is missing: tapedeck backfill kraken BTC/USD --start 2026-11-01")
        return _list(settings, venue, symbol, as_json=as_json)
    options.log_to_stderr(settings, "backfill")
    asked = _asked(settings, venue, symbol, start, end, what)
    url = database_url(settings, WRITER)
    asked = _resumed(url, asked) if end is None else asked
    with opened(url) as database:
        database.ask(asked, "command")
    with _Bar(asked, shown=not as_json) as show:
        finished = _watch(settings, asked, show) if running(settings) else _read(settings, asked, show)
    line = BackfillLine.of(asked, finished, rising=_is_rising(asked))
    if as_json:
        say_json(line, indented=True)
    else:
        say_folded(line.sentence)
    return 0 if line.state == "done" else 1


def _asked(settings: Settings, venue: str, symbol: str, start: str, end: str | None, what: str) -> Asked:
    """Return what is asked for.

    Raises:
        ConfigError: It makes no sense, or its venue cannot be asked.
    """
    readable = sorted(name for name, kind in VENUES.items() if kind.trade_history is not None)
    if not venue or not symbol:
        raise ConfigError("name a venue and a symbol: tapedeck backfill kraken BTC/USD --start 2026-11-01")
    if venue not in readable:
        raise ConfigError(f"the history of {venue} cannot be read; that of {', '.join(readable)} can")
    if what not in ("trades", "candles"):
        raise ConfigError(f"--what is trades or candles, not {what!r}")
    source = backfill_sources(settings).get(venue)
    if source is None:
        raise ConfigError(f"{venue} is not in the settings, or not enabled: add [venues.{venue}]")
    if what == "candles" and source.candles is None:
        raise ConfigError(f"{venue} offers no candles that are documented")
    require_symbols([symbol])
    if is_pattern(symbol):
        raise ConfigError(f"{symbol!r} is a pattern; name one symbol")
    now_ns = time.time_ns()
    since_ns, until_ns = instant_ns("--start", start), instant_ns("--end", end)
    assert since_ns is not None
    if until_ns is None:
        until_ns = (now_ns - _LATEST_NS) // _MINUTE_NS * _MINUTE_NS
    if until_ns > now_ns - SETTLED_NS:
        raise ConfigError("--end must be 30 s ago at least: the history of a venue is behind its feed")
    if what == "candles":
        since_ns, until_ns = (at_ns // _MINUTE_NS * _MINUTE_NS for at_ns in (since_ns, until_ns))
    if not EARLIEST_NS <= since_ns < until_ns:
        raise ConfigError("--start must be before --end, by a minute for candles, and after 2008")
    checked = check_symbols(settings, venue, [symbol])
    if checked.warning:
        say(f"tapedeck: {checked.warning}", err=True)
    kind: What = "candles" if what == "candles" else "trades"
    return Asked(venue, checked.spelled[0], kind, since_ns, until_ns, now_ns)


def _resumed(url: str, asked: Asked) -> Asked:
    """Return the question that was not read to its end and differs in this only, where there is one."""
    with opened(url) as database:
        for other, done in database.questions():
            same = (other.venue, other.symbol, other.what, other.since_ns)
            unfinished = done is None or done.state == "running"
            if unfinished and same == (asked.venue, asked.symbol, asked.what, asked.since_ns):
                return msgspec.structs.replace(other, asked_ns=asked.asked_ns)
    return asked


Show = Callable[[Asked, Done], None]


def _read(settings: Settings, asked: Asked, show: Show) -> Done | None:
    """Read in this process, and return how far it came.

    Raises:
        ConfigError: The database cannot be read, or the venue does not answer.
    """
    clock = SystemClock()
    latest: list[Done] = []

    def shown(of: Asked, done: Done) -> None:
        latest[:] = [done]
        show(of, done)

    job = backfill_job(settings, clock, lambda: database_url(settings, WRITER), asked.backfill_id, shown)
    handler = job.handler
    assert isinstance(handler, Backfilling)
    jobs = [job if one.name == NAME else one for one in jobs_of(settings, clock)]
    if job not in jobs:
        jobs.append(job)  # it is off for the poller

    def goes_on(run: RunRow) -> bool:
        handler.written()
        return run.state == "done" and bool(latest) and latest[0].state == "running"

    run = run_here(settings, job, jobs, goes_on)
    if run.state == "failed":
        raise ConfigError(f"{run.reason}; the same command goes on from here")
    if latest:
        return latest[0]
    return _stored(settings, asked)


def _watch(settings: Settings, asked: Asked, show: Show) -> Done | None:
    """Show what the running poller reads until it ends.

    Raises:
        ConfigError: The poller does not read it, or ends.
    """
    if NAME in settings.poller.off:
        raise ConfigError(f"the job {NAME} of the running poller is off; remove it from poller.off")
    say_folded("tapedeck: the running poller reads it, and goes on when you interrupt this command", err=True)
    found: list[Done] = []

    def ended() -> bool:
        done = _stored(settings, asked)
        if done is not None:
            done.rising = _is_rising(asked)
            show(asked, done)
            found[:] = [done]
        return (done is not None and not done.is_due(asked)) or not running(settings)

    wait_until(ended, _ONE_YEAR_S, 1.0)
    if not found or found[0].is_due(asked):
        raise ConfigError("the poller has ended; it goes on at its next start, or with the same command")
    return found[0]


def _stored(settings: Settings, asked: Asked) -> Done | None:
    with opened(database_url(settings, WRITER)) as database:
        return next((done for one, done in database.questions() if one.backfill_id == asked.backfill_id), None)


def _is_rising(asked: Asked) -> bool:
    history = VENUES[asked.venue].trade_history
    return asked.what == "candles" or bool(getattr(history, "rising", True))


def _list(settings: Settings, venue: str, symbol: str, *, as_json: bool) -> int:
    with opened(database_url(settings, WRITER)) as database:
        lines = [
            BackfillLine.of(asked, done, rising=_is_rising(asked))
            for asked, done in database.questions()
            if venue in ("", asked.venue) and symbol in ("", asked.symbol) and asked.venue in VENUES
        ]
    if as_json:
        say_json(lines, indented=True)
        return 0
    for one in lines:
        say_folded(one.sentence)
    going_on = sum(one.state in ("asked", "running") for one in lines)
    say_folded(f"{counted(len(lines), 'backfill')}, {going_on} not ended", err=True)
    return 0


def _instant(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns / _NS, UTC)


class _Bar:
    """Shows on standard error how much of the time is read, at which rate, and how long the rest takes."""

    def __init__(self, asked: Asked, *, shown: bool) -> None:
        err = console(stderr=True)
        self._asked = asked
        self._began_s = time.monotonic()
        self._first: int | None = None
        self._bar = Progress(
            TextColumn(f"{asked.venue} {printable(asked.symbol)} {asked.what}", markup=False), BarColumn(),
            TaskProgressColumn(), TextColumn("{task.fields[listed]:,} rows"), TextColumn("{task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(), console=err, transient=True, disable=not (shown and err.is_terminal),
        )  # fmt: skip

    def __enter__(self) -> Show:
        self._bar.start()
        total = (self._asked.until_ns - self._asked.since_ns) / _NS
        self._task = self._bar.add_task("", total=total, listed=0, rate=0.0)
        return self._show

    def _show(self, asked: Asked, done: Done) -> None:
        begin_ns, end_ns = done.span(asked)
        if self._first is None:
            self._first = done.listed
        rate = (done.listed - self._first) / max(0.1, time.monotonic() - self._began_s)
        self._bar.update(self._task, completed=(end_ns - begin_ns) / _NS, listed=done.listed, rate=rate)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
