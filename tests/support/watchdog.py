"""Evidence for the rules of the watchdog, and a running watchdog."""

from collections.abc import Mapping
from typing import Any

import msgspec

from recorder.appliance.status import judge
from recorder.appliance.supervisor import Process
from recorder.process.health import (
    DeriverFigures,
    Figures,
    JournalFigures,
    KeeperFigures,
    LinkFigures,
    PollerFigures,
    RecorderFigures,
    Report,
    WriterFigures,
)
from recorder.settings import WatchdogSettings
from recorder.watchdog import rules
from recorder.watchdog.alerts import Finding
from recorder.watchdog.causes import without_consequences
from recorder.watchdog.evidence import DatabaseEvidence, DatabaseFacts, DiskEvidence, Evidence, FileSystem, Trends

NOW = 1_800_000_000.0
NOW_S = 5_000.0
VENUES = ("north", "south")
PROGRAMS = ("postgres", "recorder-north", "recorder-south", "writer", "deriver", "keeper", "poller", "watchdog")
LIMITS = rules.limits(WatchdogSettings())


def recorder(**changes: Any) -> RecorderFigures:
    """Return the figures of a recorder that is well, but for these changes."""
    link = LinkFigures(state="LIVE", streams=3, last_frame_age_s=0.1, last_data_age_s=0.2, frames=50, events=90)
    return msgspec.structs.replace(RecorderFigures(links=[link], frames=50, events=90, blocks=3), **changes)


def figures_of(program: str) -> Figures | None:
    """Return the figures of a program that is well."""
    if program.startswith("recorder-"):
        return recorder()
    if program == "writer":
        journals = {name: JournalFigures(0, NOW, 0.0) for name in PROGRAMS if name.startswith("recorder-")}
        return WriterFigures(rows=1_000, database="up", journals=journals)
    if program == "deriver":
        return DeriverFigures(bars=300, database="up")
    if program == "keeper":
        return KeeperFigures()
    return PollerFigures() if program == "poller" else None


def report(program: str, figures: Figures | None = None, *, state: str = "live", age_s: float = 0.5) -> Report:
    """Return a health report."""
    return Report(program, 7, NOW - 900, NOW - age_s, state, "", figures or figures_of(program))


def evidence(
    *,
    reports: Mapping[str, Report | None] | None = None,
    processes: Mapping[str, Process | None] | None = None,
    supervised: bool = True,
    **parts: Any,
) -> Evidence:
    """Return the evidence of an appliance that is well, but for these parts.

    Args:
        reports: In place of those that are well, by program; None leaves one out.
        processes: The same of supervisord.
        supervised: Whether supervisord answers.
        parts: Of the evidence itself.
    """
    seen: dict[str, Report | None] = {name: report(name) for name in PROGRAMS if name != "postgres"}
    seen |= reports or {}
    listed: dict[str, Process | None] = {name: Process(name, "RUNNING", 7, 0, 900.0) for name in PROGRAMS}
    listed |= processes or {}
    known = {name: one for name, one in seen.items() if one is not None}
    run = {name: one for name, one in listed.items() if one is not None} if supervised else {}
    values: dict[str, Any] = {
        "database": DatabaseEvidence("up", "", 0.0, facts()),
        "disk": DiskEvidence([FileSystem("home", 1 << 40, 1 << 39, 50.0)], NOW_S),
        "trends": Trends(no_data_s=dict.fromkeys(VENUES, 0.0)),
    }
    return Evidence(
        at=NOW,
        at_s=NOW_S,
        supervised=supervised,
        status=judge("/home", PROGRAMS, run, known, NOW),
        processes=run,
        reports=known,
        venues=VENUES,
        **(values | parts),
    )


def facts(**changes: Any) -> DatabaseFacts:
    """Return an answer of Postgres without anything unusual, but for these changes."""
    well = DatabaseFacts(at_s=NOW_S, connections=5, max_connections=57, partitions_ahead_days=14)
    return msgspec.structs.replace(well, **changes)


def found(given: Evidence) -> list[Finding]:
    """Return what the rules find, without consequences."""
    return without_consequences(rules.findings(given, LIMITS), LIMITS)[0]


def keys(given: Evidence) -> set[tuple[str, str]]:
    """Return rule and subject of what the rules find, without consequences."""
    return {finding.key for finding in found(given)}
