"""The rules, as data: what each watches, its limit, for how long, how urgent it is, and what else explains it.

The id of a rule is also the title of its section in docs/runbook.md. The functions that look at the evidence are in
`conditions.py`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from recorder.errors import ConfigError, nearest
from recorder.printable import printable
from recorder.settings import WatchdogSettings
from recorder.watchdog import conditions, keeping
from recorder.watchdog.alerts import Finding, Severity
from recorder.watchdog.evidence import Evidence

Condition = Callable[[Evidence, float], Iterable[conditions.Found]]

_DATABASE = ("database_down", "database_hung")
_PROGRAM = ("supervisord_gone", "program_down", "program_stuck", "program_restarting")
_VENUE = (*_PROGRAM, "venues_unreachable", "venue_heartbeats", "venue_connections")


class Rule(NamedTuple):
    """One rule."""

    id: str
    severity: Severity
    watches: str
    threshold: float | str  # a number, or the name of the setting of the watchdog that has it
    unit: str
    for_s: float
    condition: Condition
    caused_by: tuple[str, ...] = ()  # rules whose finding explains this one, so that it stays silent
    asks_postgres: bool = False  # says nothing while Postgres has no recent answer
    lasts_s: float = 120  # so long after the end of a cause the condition may still be its consequence


RULES: tuple[Rule, ...] = (
    Rule("supervisord_gone", "page", "whether supervisord answers", 0, "", 15, conditions.supervisord_gone),
    Rule("program_down", "page", "programs that do not run", 0, "", 15, conditions.program_down,
         ("supervisord_gone", "program_restarting")),
    Rule("program_restarting", "page", "restarts within 10 minutes", 3, "restarts", 0, conditions.program_restarting),
    Rule("program_stuck", "page", "age of the report of a program that runs", 10, "s", 10, conditions.program_stuck,
         ("supervisord_gone", "program_down")),
    Rule("disk_full", "page", "use of a disk", "disk_critical_percent", "percent", 15, conditions.disk_use),
    Rule("disk_filling", "ticket", "use of a disk", "disk_warn_percent", "percent", 60, conditions.disk_use,
         ("disk_full",)),
    Rule("disk_days", "ticket", "days until the disk is full", 7, "days", 900, conditions.disk_days,
         ("disk_full", "disk_filling")),
    Rule("clock_offset", "page", "difference of this clock from its reference", 1, "s", 15, conditions.clock_offset),
    Rule("clock_step", "ticket", "jump of this clock within 5 minutes", 0.5, "s", 0, conditions.clock_step),
    Rule("database_down", "page", "whether Postgres accepts questions", 0, "", 30, conditions.database_down,
         ("database_hung", *_PROGRAM)),
    Rule("database_hung", "page", "time without an answer of Postgres", 5, "s", 10, conditions.database_hung),
    Rule("database_lagging", "ticket", "how far Postgres is behind the journals", 60, "s", 30,
         conditions.database_lagging, (*_DATABASE, *_PROGRAM, "disk_full")),
    Rule("backup_unproved", "ticket", "days since a backup was proved by a restore", 2, "days", 0,
         conditions.backup_unproved, _DATABASE),
    Rule("backup_old", "ticket", "age of the newest backup", 2, "days", 0, keeping.backup_old, _DATABASE),
    Rule("archive_damaged", "ticket", "files of the archive that are missing or differ", 0, "files", 0,
         keeping.archive_damaged, _PROGRAM),
    Rule("archive_let_go", "info", "what the budget of the disk removed for good", 0, "bytes", 0,
         keeping.archive_let_go, _PROGRAM),
    Rule("disk_budget", "ticket", "whether the disk budget is exceeded and nothing may go", 0, "", 60,
         keeping.disk_budget, (*_PROGRAM, "disk_full")),
    Rule("keeper_job", "ticket", "time since a job of the keeper should have run, and jobs that failed", 900, "s", 120,
         keeping.keeper_job, (*_DATABASE, *_PROGRAM, "disk_full", "partitions_ahead", "clock_step")),
    Rule("columns_lagging", "ticket", "how far column files are behind the journals", 60, "s", 30,
         conditions.columns_lagging, (*_PROGRAM, "disk_full")),
    Rule("bars_lagging", "ticket", "how far bars are behind the trades in Postgres", 60, "s", 30,
         conditions.bars_lagging, (*_DATABASE, *_PROGRAM, "disk_full")),
    Rule("database_connections", "page", "connections of Postgres in use", "connections_warn_percent", "percent", 15,
         conditions.database_connections, _DATABASE, asks_postgres=True),
    Rule("default_partition", "ticket", "tables with rows in their default partition", 0, "tables", 60,
         conditions.default_partition, _DATABASE, asks_postgres=True),
    Rule("partitions_ahead", "ticket", "days for which partitions exist", 3, "days", 300, conditions.partitions_ahead,
         _DATABASE, asks_postgres=True),
    Rule("venues_unreachable", "page", "whether all venues fail at the same time", 3, "failures in a row", 15,
         conditions.venues_unreachable, _PROGRAM),
    Rule("venue_heartbeats", "page", "sessions in a row that an unanswered ping ended", 4, "failures in a row", 0,
         conditions.venue_heartbeats, (*_PROGRAM, "venues_unreachable")),
    Rule("venue_connections", "page", "attempts in a row that brought no data", 5, "failures in a row", 15,
         conditions.venue_connections, (*_PROGRAM, "venues_unreachable", "venue_heartbeats")),
    Rule("venue_no_data", "page", "time without any data of a venue", 600, "s", 15, conditions.venue_no_data, _VENUE),
    Rule("streams_silent", "ticket", "streams that are silent for longer than they ever were", 0, "streams", 15,
         conditions.streams_silent, (*_VENUE, "venue_no_data")),
    Rule("streams_refused", "ticket", "streams that a venue refuses, or that have no room", 0, "streams", 60,
         conditions.streams_refused, _VENUE),
    Rule("book_resync_loop", "ticket", "books that do not come right", 0, "books", 15, conditions.book_resync_loop,
         (*_VENUE, "venue_no_data")),
    Rule("gap_long", "ticket", "age of a gap that goes on, against those of the week", 1800, "s", 15,
         conditions.gap_long,
         (*_VENUE, "venue_no_data", "streams_silent", "book_resync_loop")),
    Rule("lineage", "ticket", "breaks in the lineage and damaged blocks of a journal within an hour", 0, "breaks", 0,
         conditions.lineage, _DATABASE, asks_postgres=True),
    Rule("frames_dropped", "page", "frames that were dropped within 5 minutes", 0, "frames", 0,
         conditions.frames_dropped),
    Rule("quarantine_rate", "ticket", "messages in quarantine, of those of 5 minutes", 1, "percent", 15,
         conditions.quarantine_rate),
    Rule("new_message_kind", "info", "kinds of quarantined messages that came for the first time", 0, "kinds", 0,
         conditions.new_message_kind, _DATABASE, asks_postgres=True),
    Rule("poll_backlog", "ticket", "slots that are overdue", "backlog_warn", "slots", 60, conditions.poll_backlog,
         _PROGRAM),
    Rule("poll_slots_missed", "ticket", "slots that were missed within 10 minutes", 5, "slots", 15,
         conditions.poll_slots_missed, (*_PROGRAM, "clock_step", "poll_backlog"), lasts_s=660),
    Rule("circuit_open", "ticket", "REST services that failed too often to be asked", 0, "services", 60,
         conditions.circuit_open, _PROGRAM),
    Rule("poll_success", "ticket", "rounds of the last hour that did not fail", "success_warn_percent", "percent", 60,
         conditions.poll_success, (*_PROGRAM, "circuit_open"), lasts_s=3600),
    Rule("program_unwell", "ticket", "programs that report a problem which no other rule names", 0, "", 180,
         conditions.program_unwell,
         (*_DATABASE, *_VENUE, "database_lagging", "bars_lagging", "columns_lagging", "venue_no_data",
          "archive_damaged", "disk_budget", "keeper_job", "backup_unproved",
          "streams_silent", "streams_refused",
          "book_resync_loop", "frames_dropped", "lineage", "disk_full", "poll_slots_missed", "poll_success",
          "poll_backlog", "circuit_open", "clock_step")),
)  # fmt: skip
"""All rules. A cause stands before its consequences."""

BY_ID: Mapping[str, Rule] = {rule.id: rule for rule in RULES}


def severity(rule: str) -> Severity:
    """Return the severity of a rule; an alert on disk may be of a rule that there is no more."""
    return BY_ID[rule].severity if rule in BY_ID else "info"


class Limit(NamedTuple):
    """A rule as the settings have it."""

    rule: Rule
    threshold: float
    for_s: float


def limits(settings: WatchdogSettings) -> dict[str, Limit]:
    """Return the rules that are judged, by id.

    Raises:
        ConfigError: the settings change a rule that there is not.
    """
    for name in settings.rules:
        if name not in BY_ID:
            raise ConfigError(f"watchdog.rules: there is no rule {name!r}{nearest(name, BY_ID)}")
    result = {}
    for rule in RULES:
        change = settings.rules.get(rule.id)
        if change is not None and not change.enabled:
            continue
        default = getattr(settings, rule.threshold) if isinstance(rule.threshold, str) else rule.threshold
        threshold = default if change is None or change.threshold is None else change.threshold
        for_s = rule.for_s if change is None or change.for_s is None else change.for_s
        result[rule.id] = Limit(rule, float(threshold), for_s)
    return result


def findings(evidence: Evidence, judged: Mapping[str, Limit]) -> list[Finding]:
    """Return every condition that holds, causes and consequences."""
    return [
        Finding(rule.id, printable(found.subject), printable(found.text)[:300], found.value)
        for rule, threshold, _ in judged.values()
        for found in rule.condition(evidence, threshold)
    ]
