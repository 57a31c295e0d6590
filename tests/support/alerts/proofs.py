"""How each rule of the watchdog is made to fire in a real appliance, and what ends it: the table of the alert proof.

An injection acts on processes, disks, the database, the clock or the simulated venues, as the fault itself would; none
calls a function of the watchdog. Proofs of one scene run side by side, so each has a cause of its own.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from recorder.appliance import disk
from recorder.backup import catalog
from recorder.capture.liveness import rates_file
from recorder.capture.liveness.rates import ExpectedRates
from recorder.columns import position
from recorder.events import CHANNELS, Stream
from recorder.journal.reader import segment_path, segments
from recorder.process.health import PollerFigures
from support.alerts.appliance import AlertedAppliance
from support.alerts.set_clock import SetClock
from support.keeping.archives import write_manifest

VENUES = ("coinbase", "kraken", "bitfinex", "okx", "polymarket")
SERVICES = ("gamma", "clob", "data")
LEARNED = "coinbase"
"""The venue whose recorder has learned a week ago how often its streams bring data."""
SETTINGS: dict[str, dict[str, Any]] = {
    "simulator": {"rate": 50.0, "markets": 20},
    # One job every second, whose slots and rounds count fast; another one rarely enough to fail alone.
    "poller.every_s": {"polymarket-new": 1, "polymarket-whales": 15},
    "journal": {"reserve_mb": 16},
    "websocket": {"reconnect_cap_s": 2.0, "heartbeat_interval_s": 1.0, "heartbeat_timeout_s": 2.0},
    **{f"venues.{venue}": {"connects_per_minute": 600} for venue in VENUES},  # faults reconnect often
    "alerts": {"least": "info", "cooldown_s": 10.0, "reminder_s": 0.0},
    "watchdog": {"backlog_warn": 15},
    "watchdog.rules.venue_no_data": {"threshold": 60},
    "watchdog.rules.gap_long": {"threshold": 90},
    "watchdog.rules.database_lagging": {"threshold": 10},
    "watchdog.rules.bars_lagging": {"threshold": 10},
    "columns": {"enabled": True, "flush_s": 0.5},
    "watchdog.rules.columns_lagging": {"threshold": 6},
    "watchdog.rules.partitions_ahead": {"for_s": 30},
    "watchdog.rules.disk_days": {"for_s": 30},
    "watchdog.rules.program_unwell": {"for_s": 30},
    "watchdog.rules.keeper_job": {"for_s": 10},
    "watchdog.rules.disk_budget": {"for_s": 10},
}
"""Where a rule needs minutes or hours, its limit or its time is shorter here; the table shows what was used."""
_NO_ROOM_MB = 8  # free space at which frames are dropped: below journal.reserve_mb
_HOUR_AND_MORE = "61 minutes"


class Bench(NamedTuple):
    """What injections act on."""

    appliance: AlertedAppliance
    journal_disk: Path  # a small file system of its own
    clock: SetClock


Act = Callable[[Bench], None]


class Proof(NamedTuple):
    """How one rule is made to fire, and what ends it."""

    rule: str
    subject: str
    what: str  # the injection, for the table
    inject: Act
    cure: Act
    prepare: Act | None = None  # what comes before, outside the time that is measured
    needs_s: float = 0.0  # how long the condition takes to come true by its own definition, such as a limit in seconds
    over_s: float = 0.0  # how long the condition holds by its definition after the cure
    brings: tuple[str, ...] = ()  # other rules that the same fault fires rightly
    after: str = ""  # a rule that must be over before, because this fault would keep it going


# ---- programs ------------------------------------------------------------------------------------------------


def _signalled(program: str, number: signal.Signals) -> Act:
    return lambda bench: bench.appliance.signal(program, number)


def _controlled(*words: str) -> Act:
    return lambda bench: bench.appliance.control(*words)


def _kill_and_await(bench: Bench, program: str) -> None:
    """Kill a program; return when supervisord has started it again and the watchdog has seen that."""
    before = bench.appliance.pid(program)
    bench.appliance.signal(program, signal.SIGKILL)
    bench.appliance.wait(f"{program} runs again", lambda: bench.appliance.pid(program) not in (0, before))
    until_s = time.monotonic() + 2 * bench.appliance.settings.watchdog.every_s
    bench.appliance.wait("a round has seen it", lambda: time.monotonic() >= until_s)


def _kill_twice(bench: Bench) -> None:
    for _ in range(2):
        _kill_and_await(bench, "recorder-polymarket")


# ---- venues and services -------------------------------------------------------------------------------------


def _faults(name: str, *actions: tuple[str, dict[str, object]]) -> Act:
    def act(bench: Bench) -> None:
        for action, arguments in actions:
            bench.appliance.do(name, action, **arguments)

    return act


def _healed(name: str, *, close: bool = False) -> Act:
    return _faults(name, ("heal", {}), *([("close", {})] if close else []))


def _unreachable(bench: Bench) -> None:
    for venue in VENUES:
        _faults(venue, ("refuse_handshake", {"status": 503}), ("close", {}))(bench)


def _all_healed(bench: Bench) -> None:
    for venue in VENUES:
        bench.appliance.do(venue, "heal")


def _malformed(bench: Bench) -> None:
    """Send malformed frames, eleven at a time, until they are a few in a hundred of those of five minutes."""
    for _ in range(60):
        bench.appliance.do("kraken", "malformed")


def learn(bench: Bench) -> None:
    """Let the recorder of one venue have learned that each of its streams brings data each second."""
    settings = bench.appliance.settings
    week_ago_s = time.time() - 7 * 86_400
    streams = [Stream(channel, symbol) for channel in CHANNELS for symbol in settings.venues[LEARNED].symbols]
    rates = ExpectedRates()
    for second in range(-3600, 7200):
        rates.sample(streams, streams, week_ago_s + second)
    rates_file.save(rates_file.path_of(settings.home, f"recorder-{LEARNED}"), rates, week_ago_s + 7200)


def _enough_rounds(bench: Bench) -> None:
    def enough() -> bool:
        poller = bench.appliance.figures("poller")
        return isinstance(poller, PollerFigures) and poller.rounds >= 60

    bench.appliance.wait("the poller has made rounds", enough, 120.0)


def _refused_rounds(bench: Bench) -> None:
    """Let so many rounds fail that one in six of the hour does."""
    poller = bench.appliance.figures("poller")
    assert isinstance(poller, PollerFigures)
    bench.appliance.do("gamma", "rest", status=403, times=poller.rounds // 5, path="/markets/keyset")


# ---- Postgres ------------------------------------------------------------------------------------------------


def _sql(*statements: str, database: str = "") -> Act:
    def act(bench: Bench) -> None:
        for statement in statements:
            bench.appliance.sql(statement, database=database)

    return act


def _released(bench: Bench) -> None:
    bench.appliance.held.close()


def _lock(bench: Bench) -> None:
    bench.appliance.hold("LOCK TABLE quote IN ACCESS EXCLUSIVE MODE")


def _lock_bars(bench: Bench) -> None:
    bench.appliance.hold("LOCK TABLE bar IN ACCESS EXCLUSIVE MODE")


def _damage_backup(bench: Bench) -> None:
    bench.appliance.command("backup")
    data = catalog.backups(bench.appliance.settings.backup.dir)[-1].data / "base"
    file = max((path for path in data.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _prove_backup(status: int) -> Act:
    return lambda bench: void(bench.appliance.command("backups", "--prove", "newest", statuses=(status,)))


def _new_backup(bench: Bench) -> None:
    bench.appliance.command("backup")
    _prove_backup(0)(bench)


def _age_backups(days: int) -> Act:
    return _sql(f"UPDATE backup SET began_at = began_at - interval '{days} days'")


def _archived_file(bench: Bench) -> Path:
    """Write a file of the archive of a day long ago with its row in the ledger."""
    root = bench.appliance.home / "archive"
    digest = sha256(b"tape" * 5_000_000).hexdigest()
    file = root / "trade" / "part-0.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"tape" * 5_000_000)
    write_manifest(root, "proof", "2020-01-02", {"trade": digest})
    bench.appliance.sql(
        "INSERT INTO archive (table_name, day, venue, revision, state, folder, path, row_count, duplicates, bytes,"
        " sha256, checksum) VALUES ('trade', '2020-01-02', 'proof', 1, 'kept', %s, 'trade/part-0.parquet', 7, 0,"
        " 20000000, %s, 5) ON CONFLICT DO NOTHING",
        str(root), digest,
    )  # fmt: skip
    return file


def _damage_archive(bench: Bench) -> None:
    file = _archived_file(bench)
    with file.open("r+b") as opened:
        opened.write(b"T")
    _keep("check", 2)(bench)


def _mend_archive(bench: Bench) -> None:
    _archived_file(bench)
    _keep("check", 0)(bench)


def _keep(job: str, status: int, **environment: str) -> Act:
    return lambda bench: void(bench.appliance.command("keep", "--once", job, statuses=(status,), **environment))


_TIGHT = {"TAPEDECK__KEEPER__BUDGET_GB": "0.001"}


def _no_right(bench: Bench) -> None:
    bench.appliance.sql("REVOKE SELECT ON day_partition FROM tapedeck_keeper")
    _keep("partitions", 1)(bench)


def _right_again(bench: Bench) -> None:
    bench.appliance.sql("GRANT SELECT ON day_partition TO tapedeck_keeper")
    _keep("partitions", 0)(bench)


def void(_: str) -> None:
    """Drop what a command printed."""


def _block_columns(bench: Bench) -> None:
    noted = bench.appliance.settings.columns.dir / position.NAME
    noted.rename(noted.with_name("aside"))
    noted.mkdir()


def _unblock_columns(bench: Bench) -> None:
    noted = bench.appliance.settings.columns.dir / position.NAME
    noted.rmdir()
    noted.with_name("aside").rename(noted)


def _connections(bench: Bench) -> None:
    ((used, most),) = bench.appliance.sql(
        "SELECT (SELECT sum(numbackends)::int FROM pg_stat_database), current_setting('max_connections')::int "
        "- current_setting('superuser_reserved_connections')::int"
    )
    for _ in range(round(0.94 * most) - used):
        bench.appliance.hold()


def _allow_connections(allowed: bool) -> Act:
    def act(bench: Bench) -> None:
        name = bench.appliance.settings.database.name
        bench.appliance.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {allowed}', database="postgres")

    return act


_ROW = """
INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size)
SELECT min(instrument_id), 1, now() + interval '9 years', now(), 1, 1 FROM instrument"""
_NO_ROW = "DELETE FROM trade WHERE ts_event > now() + interval '8 years'"
_DROP_AHEAD = "SELECT drop_partition('trade', current_date + n) FROM generate_series(2, 14) AS n"
_ENSURE_AHEAD = "SELECT ensure_partition('trade', current_date + n) FROM generate_series(2, 14) AS n"
_OLDER_BREAKS = f"UPDATE journal_break SET found_at = found_at - interval '{_HOUR_AND_MORE}'"
_OLDER_DAMAGE = f"UPDATE quarantine SET ts_recv = ts_recv - interval '{_HOUR_AND_MORE}'"


# ---- disks and journals --------------------------------------------------------------------------------------


def _filled(percent: float | None) -> Act:
    """Fill the disk of the journals to a percentage, or until frames are dropped."""

    def act(bench: Bench) -> None:
        values = os.statvfs(bench.journal_disk)
        size, free = values.f_blocks * values.f_frsize, values.f_bavail * values.f_frsize
        left = (_NO_ROOM_MB << 20) if percent is None else round(size * (1 - percent / 100))
        file = os.open(_filling(bench), os.O_CREAT | os.O_WRONLY, 0o600)
        os.posix_fallocate(file, 0, free - left)
        os.close(file)

    return act


def _emptied(bench: Bench) -> None:
    _filling(bench).unlink()


def _filling(bench: Bench) -> Path:
    return bench.journal_disk / "other.bin"


def _two_hours_ago(bench: Bench) -> None:
    """Leave a measurement of two hours ago, when the database was not there yet."""
    parts = {"journal": 0, "database": 0, "wal": 0, "truth": 0}
    sample = disk.Sample(time.time() - 7_300, parts)
    (bench.appliance.home / "disk.json").write_bytes(msgspec.json.encode([sample]))


def _no_measurement(bench: Bench) -> None:
    (bench.appliance.home / "disk.json").unlink(missing_ok=True)


def _flip_a_bit(bench: Bench) -> None:
    """Change a byte of a journal before the writer, which stands still meanwhile, has read it."""
    folder = bench.appliance.settings.journal.dir / f"recorder-{LEARNED}"
    path = segment_path(folder, segments(folder)[-1])
    bench.appliance.signal("writer", signal.SIGSTOP)
    try:
        size = path.stat().st_size
        bench.appliance.wait("the journal grows", lambda: path.stat().st_size > size + 20_000)
        with path.open("r+b") as file:
            file.seek(size + 10_000)
            (byte,) = file.read(1)
            file.seek(size + 10_000)
            file.write(bytes([byte ^ 0xFF]))
    finally:
        bench.appliance.signal("writer", signal.SIGCONT)


def _an_hour_later(bench: Bench) -> None:
    """Make the damage older than an hour: in the database, and for the writer, which remembers it for as long."""
    _sql(_OLDER_BREAKS, _OLDER_DAMAGE)(bench)
    bench.appliance.signal("writer", signal.SIGKILL)


# ---- the table -----------------------------------------------------------------------------------------------


def _stepped(bench: Bench) -> None:
    bench.clock.step(90.0)


def _off(seconds: float) -> Act:
    return lambda bench: bench.clock.offset(seconds)


def _nothing(_bench: Bench) -> None:
    """Only time ends it."""


_HEARTBEATS: tuple[str, dict[str, object]] = ("half_open", {"next_ones": 30})

SCENES: tuple[tuple[Proof, ...], ...] = (
    (
        Proof("program_restarting", "recorder-polymarket", "kill -9 for the third time", prepare=_kill_twice,
              inject=_signalled("recorder-polymarket", signal.SIGKILL), cure=_nothing, over_s=600),
        Proof("program_unwell", "poller", "a REST service refuses one job (403)", needs_s=75,
              inject=_faults("data", ("rest", {"status": 403, "times": None})), cure=_healed("data")),
        Proof("gap_long", "okx", "a market sends no trade after a reconnect", needs_s=90,
              inject=_faults("okx", ("freeze", {"symbol": "BTC-USDT", "channel": "trade"}), ("close", {})),
              cure=_healed("okx")),
        Proof("book_resync_loop", "kraken", "checksums of a book are always wrong", needs_s=30,
              inject=_faults("kraken", ("checksum", {"symbol": "BTC/USD"})), cure=_healed("kraken", close=True)),
        Proof("streams_silent", LEARNED, "a busy market falls silent", needs_s=60,
              inject=_faults(LEARNED, ("freeze", {"symbol": "BTC-USD", "channel": "trade"})),
              cure=_healed(LEARNED)),
        Proof("default_partition", "", "a row of a day without a partition", inject=_sql(_ROW), cure=_sql(_NO_ROW)),
    ),
    (
        Proof("venue_heartbeats", "coinbase", "connections open, and nothing answers", needs_s=20,
              inject=_faults("coinbase", _HEARTBEATS), cure=_healed("coinbase", close=True)),
        Proof("venue_connections", "bitfinex", "429 to every handshake",
              inject=_faults("bitfinex", ("refuse_handshake", {"status": 429}), ("close", {})),
              cure=_healed("bitfinex")),
        Proof("streams_refused", "kraken", "the venue refuses a subscription",
              inject=_faults("kraken", ("refuse", {"channel": "trade", "symbol": "ETH/USD"}), ("close", {})),
              cure=_healed("kraken", close=True)),
        Proof("poll_slots_missed", "poller", "a REST service is late by 8 s", needs_s=10,
              inject=_faults("gamma", ("delay", {"seconds": 8.0, "times": 2, "path": "/markets/keyset"})),
              cure=_nothing, over_s=600),
        Proof("database_connections", "", "other sessions take the connections", inject=_connections, cure=_released),
        Proof("poll_success", "poller", "a REST service refuses one round in six (403)", prepare=_enough_rounds,
              inject=_refused_rounds, cure=_nothing, needs_s=30, over_s=400),
    ),
    (
        Proof("venue_no_data", "okx", "pongs, and no data", needs_s=60,
              inject=_faults("okx", ("freeze", {})), cure=_healed("okx")),
        Proof("quarantine_rate", "recorder-kraken", "a few in a hundred frames are malformed", inject=_malformed,
              cure=_nothing, over_s=300, brings=("new_message_kind",)),
        Proof("new_message_kind", "recorder-bitfinex", "a message of an unknown kind",
              inject=_faults("bitfinex", ("malformed", {"kind": "unknown_type"})),
              cure=_sql(_OLDER_DAMAGE), over_s=60),
        Proof("lineage", f"recorder-{LEARNED}", "a changed byte in a journal", inject=_flip_a_bit,
              cure=_an_hour_later, over_s=60),
        Proof("disk_days", "", "the data of two hours fill the disk in days", needs_s=60, inject=_two_hours_ago,
              cure=_no_measurement, over_s=60),
    ),
    (
        Proof("partitions_ahead", "", "the partitions of coming days are dropped", inject=_sql(_DROP_AHEAD),
              cure=_sql(_ENSURE_AHEAD), over_s=60),
        Proof("bars_lagging", "deriver", "a session keeps a lock on the table of the bars", needs_s=12,
              inject=_lock_bars, cure=_released),
        Proof("backup_unproved", "", "a byte of a backup changes on its disk", needs_s=20, prepare=_damage_backup,
              inject=_prove_backup(1), cure=_new_backup, over_s=30),
        Proof("archive_damaged", "keeper", "a byte of the archive changes on its disk", inject=_damage_archive,
              cure=_mend_archive),
        Proof("columns_lagging", "columns", "a folder stands where the column files note their position", needs_s=8,
              inject=_block_columns, cure=_unblock_columns),
        Proof("disk_filling", "journal", "a disk of 1 GiB is 92 % full", inject=_filled(92), cure=_emptied),
        Proof("circuit_open", "poller", "429 storm of a REST service", needs_s=15,
              inject=_faults("clob", ("rest", {"status": 429, "times": None})), cure=_healed("clob"), over_s=45),
        Proof("program_stuck", "recorder-okx", "a recorder is frozen (SIGSTOP)", needs_s=10,
              inject=_signalled("recorder-okx", signal.SIGSTOP),
              cure=_signalled("recorder-okx", signal.SIGCONT)),
    ),
    (
        Proof("backup_old", "", "the newest backup is three days old", after="backup_unproved", needs_s=20,
              inject=_age_backups(3), cure=_age_backups(-3), over_s=30),
        Proof("keeper_job", "keeper", "the keeper loses a right in Postgres", inject=_no_right, cure=_right_again),
        Proof("disk_budget", "keeper", "the disk use is beyond its budget", inject=_keep("budget", 1, **_TIGHT),
              cure=_keep("budget", 0)),
        Proof("disk_full", "journal", "a disk of 1 GiB is 97 % full", inject=_filled(97), cure=_emptied),
        Proof("database_lagging", "", "a session keeps a lock on a table", needs_s=10, inject=_lock, cure=_released),
        Proof("program_down", "recorder-coinbase", "a program is stopped by a person",
              inject=_controlled("stop", "recorder-coinbase"),
              cure=_controlled("start", "recorder-coinbase")),
    ),
    (
        Proof("archive_let_go", "keeper", "the budget leaves no room for the archive",
              prepare=lambda bench: void(str(_archived_file(bench))),
              inject=_keep("budget", 1, TAPEDECK__KEEPER__LET_GO="true", **_TIGHT), cure=_keep("budget", 0),
              brings=("disk_budget",)),
        Proof("frames_dropped", "", "a disk of 1 GiB has no room", inject=_filled(None), cure=_emptied, over_s=300,
              brings=("disk_full",)),
    ),
    (
        Proof("database_hung", "", "all of Postgres is frozen (SIGSTOP)", needs_s=5,
              inject=_signalled("postgres", signal.SIGSTOP), cure=_signalled("postgres", signal.SIGCONT)),
    ),
    (
        Proof("database_down", "", "the database takes no connection", inject=_allow_connections(False),
              cure=_allow_connections(True)),
    ),
    (
        Proof("venues_unreachable", "", "503 to every handshake of every venue", inject=_unreachable,
              cure=_all_healed),
    ),
    (
        Proof("clock_offset", "", "the kernel is 1.5 s from its reference", inject=_off(1.5), cure=_off(0.0)),
    ),
    (
        Proof("supervisord_gone", "", "supervisord is frozen (SIGSTOP)",
              inject=_signalled("supervisord", signal.SIGSTOP), cure=_signalled("supervisord", signal.SIGCONT)),
    ),
    (
        Proof("poll_backlog", "poller", "a REST service is silent", needs_s=15, after="poll_slots_missed",
              inject=_faults("gamma", ("away", {"how": "silent"})), cure=_healed("gamma"), over_s=30),
    ),
    (
        Proof("clock_step", "", "the clock of all programs is set by 90 s", inject=_stepped, cure=_nothing,
              over_s=300),
    ),
)  # fmt: skip
"""The proofs, scene after scene."""


def proofs() -> Iterator[Proof]:
    """Yield all of them."""
    for scene in SCENES:
        yield from scene
