"""`tapedeck certify`: makes and prints certificates of hours, and checks certificates against raw frames."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from recorder.appliance.embedded_postgres import database_url
from recorder.certify.check import Checked, check
from recorder.certify.database import opened
from recorder.certify.document import GRADES, HOUR_US, Certificate, decode_all
from recorder.certify.grade import rules_of
from recorder.certify.make import Unsettled
from recorder.cli.certificates.made import DAY_US, Bar, hours_between, made_by_day, over_hours, wanted_hours
from recorder.cli.common import counted, instant_ns, say_folded, venue_settings
from recorder.clock import SystemClock
from recorder.errors import ConfigError
from recorder.printable import printable
from recorder.process.terminal import say, say_json
from recorder.settings import Settings
from recorder.store.database import WRITER
from recorder.venues import VENUES

_FILE_MAX = 1 << 30
_DUE_DAYS = 2


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(certify)


def certify(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="VENUE [SYMBOL] | FILE...", help="A stream; with --check files.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="Begin, UTC. Default: a day before the end.")] = None,
    end: Annotated[str | None, typer.Option(help="End, UTC. Default: now.")] = None,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Compare with the rows as recorded; do not decode frames again.")
    ] = False,
    due: Annotated[
        bool, typer.Option("--due", help="Hours of the last two days without a valid certificate; implies --recorded.")
    ] = False,
    check_files: Annotated[
        bool, typer.Option("--check", help="Derive certificates again from raw frames, without the database.")
    ] = False,
    journals: Annotated[
        Path | None, typer.Option(help="Folder of the journals for --check. Default: that of the settings.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The documents, one a line; with --due their number by grade.")
    ] = False,
) -> int:
    """Certify what is known of each hour of a stream: rows, sessions, gaps, checks, hashes, and a grade.

    An hour is certified once it is settled: two minutes after it, when its journal is loaded and, where trades have
    ids, the next trade is stored. When something about it changes, such as a gap that was healed, the next call makes a
    higher revision. Grades are proved, witnessed, consistent, claimed, holed; docs/guarantees.md has the rules. The
    poller certifies settled hours by itself.

    With --check the facts are derived again from the raw frames in journals: on another machine, with a copy of the
    journals, without the database.

    Exit code: 0; 1 when stored rows are not those of the frames, or a certificate is not what the frames give; 2 when
    you must change something.

    Examples:

    `tapedeck certify coinbase BTC-USD --start 2026-12-01T00:00Z --end 2026-12-02T00:00Z`

    `tapedeck certify coinbase BTC-USD --json > btc.json`

    `tapedeck certify --check btc.json --journals /mnt/copy/journal`
    """
    settings: Settings = context.obj.settings()
    words = names or []
    if check_files:
        if not words or start or end or due or recorded:
            raise ConfigError("--check takes files of certificates: tapedeck certify --check FILE...")
        return _check([Path(word) for word in words], journals or settings.journal.dir)
    if journals is not None:
        raise ConfigError("--journals belongs to --check")
    now_us = SystemClock().wall_ns() // 1000
    if due:
        if words or start or end:
            raise ConfigError("--due takes no venue and no time")
        return _due(settings, now_us, as_json=as_json)
    if not 1 <= len(words) <= 2:
        raise ConfigError("name a venue, and a symbol or none: tapedeck certify coinbase BTC-USD")
    venue, symbol = words[0], words[1] if len(words) == 2 else ""
    venue_settings(settings, venue)
    start_ns, end_ns = instant_ns("--start", start), instant_ns("--end", end)
    end_us = now_us if end_ns is None else end_ns // 1000
    start_us = end_us - DAY_US if start_ns is None else start_ns // 1000
    hours, later = over_hours(hours_between(start_us, end_us), now_us)
    certificates: list[Certificate] = []
    unsettled: list[Unsettled] = []
    with opened(database_url(settings, WRITER)) as database, Bar(shown=not as_json) as bar:
        symbols, wanted = wanted_hours(database, venue, symbol, hours)
        for made in made_by_day(database, settings, venue, symbols, wanted, now_us, decode=not recorded, progress=bar):
            certificates += database.store(made.certificates, now_us)
            unsettled += made.unsettled
    if as_json:
        for one in certificates:
            say_json(one)
    else:
        _show(certificates)
    _report(certificates, unsettled)
    if later:
        say_folded(later, err=True)
    if not certificates and not unsettled:
        say(f"no journal in {settings.journal.dir} has recorded it in this time", err=True)
    return 1 if any(one.replay == "differs" for one in certificates) else 0


def _due(settings: Settings, now_us: int, *, as_json: bool) -> int:
    """Certify what is due of every venue that the settings enable."""
    end_us = now_us // HOUR_US * HOUR_US
    stored: list[Certificate] = []
    with Bar(shown=not as_json) as bar:
        for venue in sorted(key for key, own in settings.venues.items() if own.enabled):
            with opened(database_url(settings, WRITER)) as database:
                kind = VENUES[venue]
                candles = kind.minute_candles is not None and not rules_of(venue, "trade").ids
                hours = database.due(kind.name, end_us - _DUE_DAYS * DAY_US, end_us, candles=candles)
                symbols = {hour.instrument_id: hour.symbol for hour in hours}
                wanted = [hour.key for hour in hours]
                for made in made_by_day(database, settings, venue, symbols, wanted, now_us, decode=False, progress=bar):
                    stored += database.store(made.certificates, now_us)
    differs = sum(one.replay == "differs" for one in stored)
    if as_json:
        say_json({"made": dict(Counter(one.grade for one in stored)), "differs": differs})
    else:
        _show(stored)
        _report(stored, [])
    return 1 if differs else 0


def _check(paths: Sequence[Path], folder: Path) -> int:
    certificates = [one for path in paths for one in _read(path)]
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}; --journals names the folder of the journals")
    results = check(certificates, folder)
    for result in results:
        say(printable(_verdict(result)))
        for fault in result.faults:
            say(printable(f"  {fault}"))
    refused = sum(bool(result.faults) for result in results)
    say(f"{len(results) - refused} of {len(results)} certificates are what the frames give", err=True)
    return 1 if refused else 0


def _verdict(result: Checked) -> str:
    one = result.certificate
    return f"{one.name}, revision {one.revision}, {one.grade}: {'REFUSED' if result.faults else 'equal'}"


def _read(path: Path) -> list[Certificate]:
    try:
        if path.stat().st_size > _FILE_MAX:
            raise ConfigError(f"{path} is larger than {_FILE_MAX >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return decode_all(data)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _show(certificates: Sequence[Certificate]) -> None:
    """Print each certificate in a few lines, which are readable at any width of the terminal."""
    for one in certificates:
        counts = [f"{one.rows.stored:,} rows of {one.frames:,} frames", f"replay {one.replay}"]
        counts += [f"{one.rows.healed:,} healed"] if one.rows.healed else []
        counts += [f"{len(one.gaps)} gaps"] if one.gaps else []
        counts += [f"revision {one.revision}"] if one.revision > 1 else []
        say(f"{one.hour[:16].replace('T', ' ')} UTC  {one.channel:<5}  {printable(one.symbol)}: {one.grade}")
        say(f"    {', '.join(counts)}")
        for line in (*one.reasons, *one.differences):
            say_folded(f"    {printable(line)}", indent="      ")


def _report(certificates: Sequence[Certificate], unsettled: Sequence[Unsettled]) -> None:
    grades = Counter(one.grade for one in certificates)
    counts = ", ".join(f"{grades[grade]} {grade}" for grade in GRADES if grades[grade])
    say_folded(f"{counted(len(certificates), 'hour')} of streams{f': {counts}' if counts else ''}", err=True)
    for reason, count in Counter(one.reason for one in unsettled).items():
        say_folded(f"{counted(count, 'hour')} of streams not certified yet: {reason}", err=True)
