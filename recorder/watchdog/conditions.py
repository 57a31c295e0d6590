"""The conditions of the rules: functions of the evidence and a limit. Pure.

A condition looks at its own evidence only. What explains what is written in `rules.py` and applied by `causes.py`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from recorder.printable import one_line
from recorder.shards import venue_of
from recorder.watchdog.evidence import Evidence, VenueState

_LEAST_ROUNDS = 20  # of polls, before their success is judged
_LEAST_QUARANTINED = 10  # messages; a few are no rate
_GROWTH_S = 3600.0  # a growth that was measured over less is that of a start
_HABIT_FACTOR = 3.0
_FEWEST_VENUES = 2  # whose failure together points to our own network


class Found(NamedTuple):
    """A condition that holds."""

    subject: str  # venue or program; "" for the appliance
    text: str
    value: float | None = None


# ---- programs ------------------------------------------------------------------------------------------------


def supervisord_gone(evidence: Evidence, _limit: float) -> Iterator[Found]:
    if not evidence.supervised:
        # It is the parent of this program, which therefore cannot tell one that is frozen from one that ended.
        yield Found("", "supervisord does not answer: it ended, or it is frozen; programs that end are not restarted")


def program_down(evidence: Evidence, _limit: float) -> Iterator[Found]:
    for line in evidence.status.programs:
        if line.supervisor not in ("RUNNING", "STARTING"):
            yield Found(line.program, f"{line.program}: {line.problem or line.supervisor}")


def program_restarting(evidence: Evidence, limit: float) -> Iterator[Found]:
    for program, restarts in evidence.trends.restarts.items():
        if restarts >= limit:
            yield Found(program, f"{program} was restarted {restarts} times within 10 minutes", restarts)


def program_stuck(evidence: Evidence, limit: float) -> Iterator[Found]:
    for line in evidence.status.programs:
        report = evidence.reports.get(line.program)
        if line.state != "silent":
            continue
        age_s = line.uptime_s if report is None else min(report.age_s(evidence.at), line.uptime_s)
        if age_s > limit:
            yield Found(line.program, f"{line.program} runs, and has not reported for {age_s:.0f} s", age_s)


def program_unwell(evidence: Evidence, _limit: float) -> Iterator[Found]:
    for line in evidence.status.programs:
        if line.problem and line.state not in ("", "silent") and line.supervisor == "RUNNING":
            yield Found(line.program, f"{line.program}: {line.problem}")


# ---- Postgres ------------------------------------------------------------------------------------------------


def database_down(evidence: Evidence, _limit: float) -> Iterator[Found]:
    if evidence.database.state == "down":
        yield Found("", f"Postgres: {evidence.database.reason}")


def database_hung(evidence: Evidence, limit: float) -> Iterator[Found]:
    database = evidence.database
    if database.state == "hung" and database.silent_s >= limit:
        yield Found(
            "", f"Postgres has not answered for {database.silent_s:.0f} s: {database.reason}", database.silent_s
        )


def database_lagging(evidence: Evidence, limit: float) -> Iterator[Found]:
    lag_s = evidence.lag_s()
    if lag_s is not None and lag_s > limit:
        writer = evidence.lines().get("writer")
        reported = f"; the writer is {writer.problem}" if writer is not None and writer.problem else ""
        yield Found("", f"Postgres is {lag_s:.0f} s behind the journals{reported}", lag_s)


def backup_unproved(evidence: Evidence, limit: float) -> Iterator[Found]:
    facts = evidence.database.facts
    backup = None if facts is None else facts.backup
    if backup is None or backup.oldest_days is None:
        return
    days = backup.oldest_days if backup.proved_days is None else backup.proved_days
    if backup.verdict not in (None, "proved"):
        reason = one_line(backup.detail or "")[:200]
        yield Found("", f"the backup {backup.name} cannot be trusted ({backup.verdict}): {reason}", days)
    elif days > limit:
        yield Found("", f"no backup was proved by a restore for {days:.1f} days", days)


def columns_lagging(evidence: Evidence, limit: float) -> Iterator[Found]:
    columns = evidence.columns
    if columns is not None and evidence.fresh("columns") and columns.lag_s > limit:
        reported = "" if columns.disk == "up" else f"; the disk is {columns.disk}"
        yield Found(
            "columns", f"the column files are {columns.lag_s:.0f} s behind the journals{reported}", columns.lag_s
        )


def bars_lagging(evidence: Evidence, limit: float) -> Iterator[Found]:
    deriver = evidence.deriver
    if deriver is not None and evidence.fresh("deriver") and deriver.lag_s > limit:
        reported = "" if deriver.database == "up" else f"; Postgres is {deriver.database}"
        yield Found("deriver", f"the bars are {deriver.lag_s:.0f} s behind the trades{reported}", deriver.lag_s)


def database_connections(evidence: Evidence, limit: float) -> Iterator[Found]:
    facts = evidence.database.facts
    if facts is not None and facts.max_connections:
        percent = 100 * facts.connections / facts.max_connections
        if percent >= limit:
            yield Found(
                "", f"{facts.connections} of {facts.max_connections} connections of Postgres are in use", percent
            )


def default_partition(evidence: Evidence, limit: float) -> Iterator[Found]:
    facts = evidence.database.facts
    if facts is not None and len(facts.default_partitions) > limit:
        names = ", ".join(facts.default_partitions)
        yield Found("", f"the default partition has rows of: {names}", len(facts.default_partitions))


def partitions_ahead(evidence: Evidence, limit: float) -> Iterator[Found]:
    facts = evidence.database.facts
    if facts is not None and facts.partitions_ahead_days is not None and facts.partitions_ahead_days < limit:
        days = facts.partitions_ahead_days
        text = f"partitions exist for {_counted(days, 'day')} ahead only" if days >= 0 else "today has no partition"
        yield Found("", text, days)


def lineage(evidence: Evidence, limit: float) -> Iterator[Found]:
    facts = evidence.database.facts
    for recorder, count in ({} if facts is None else facts.breaks).items():
        if count > limit:
            breaks = _counted(count, "break or damaged block", "breaks or damaged blocks")
            yield Found(recorder, f"the journal of {recorder} has {breaks} of the last hour", count)


def gap_long(evidence: Evidence, limit: float) -> Iterator[Found]:
    facts = evidence.database.facts
    for state in evidence.venue_states():
        habit_s = 0.0 if facts is None else facts.gap_habits.get(state.venue, 0.0)
        allowed_s = max(limit, _HABIT_FACTOR * habit_s)
        if state.oldest_gap_s > allowed_s:
            text = f"{state.venue}: a gap has gone on for {state.oldest_gap_s:.0f} s, the limit is {allowed_s:.0f} s"
            yield Found(state.venue, text, state.oldest_gap_s)


def new_message_kind(evidence: Evidence, _limit: float) -> Iterator[Found]:
    by_recorder: dict[str, list[str]] = {}
    for kind in evidence.trends.new_kinds:
        by_recorder.setdefault(kind.recorder, []).append(kind.kind)
    for recorder, kinds in by_recorder.items():
        yield Found(
            recorder, f"{recorder}: messages of a new kind are in quarantine: {'; '.join(kinds[:3])}", len(kinds)
        )


# ---- venues --------------------------------------------------------------------------------------------------


def venues_unreachable(evidence: Evidence, limit: float) -> Iterator[Found]:
    states = [state for state in evidence.venue_states() if state.streams]
    if len(states) >= _FEWEST_VENUES and all(state.failures >= limit for state in states):
        yield Found("", f"no venue can be reached: {states[0].last_error}", min(state.failures for state in states))


def venue_connections(evidence: Evidence, limit: float) -> Iterator[Found]:
    for state in evidence.venue_states():
        if state.failures > limit:
            text = f"{state.venue}: {state.failures} connections in a row brought no data: {state.last_error}"
            yield Found(state.venue, text, state.failures)


def venue_heartbeats(evidence: Evidence, limit: float) -> Iterator[Found]:
    for state in evidence.venue_states():
        if state.heartbeat_failures > limit:
            text = f"{state.venue}: {state.heartbeat_failures} sessions in a row ended by an unanswered ping"
            yield Found(state.venue, text, state.heartbeat_failures)


def venue_no_data(evidence: Evidence, limit: float) -> Iterator[Found]:
    for venue, quiet_s in evidence.trends.no_data_s.items():
        if quiet_s > limit:
            yield Found(venue, f"{venue}: no data for {quiet_s:.0f} s", quiet_s)


def streams_silent(evidence: Evidence, limit: float) -> Iterator[Found]:
    for state in evidence.venue_states():
        if len(state.silent) > limit:
            yield Found(state.venue, _listed(state, "silent", state.silent), len(state.silent))


def streams_refused(evidence: Evidence, limit: float) -> Iterator[Found]:
    for state in evidence.venue_states():
        if state.refused > limit:
            reasons = [
                f"{refusal.stream} ({refusal.reason})"
                for program, figures in evidence.recorders()
                if venue_of(program) == state.venue
                for refusal in figures.refusals
            ]
            streams = _counted(state.refused, "stream is", "streams are")
            such = f", such as {'; '.join(reasons[:2])}" if reasons else ""
            yield Found(state.venue, f"{state.venue}: {streams} refused or without room{such}", state.refused)


def book_resync_loop(evidence: Evidence, limit: float) -> Iterator[Found]:
    for state in evidence.venue_states():
        if state.looping > limit:
            books = _counted(state.looping, "book does", "books do")
            yield Found(state.venue, f"{state.venue}: {books} not come right", state.looping)


def frames_dropped(evidence: Evidence, limit: float) -> Iterator[Found]:
    """Find dropped frames: one alert for all recorders, since they share the memory and the disk."""
    dropped = {recorder: frames for recorder, frames in evidence.trends.shed.items() if frames > limit}
    if dropped:
        most = sorted(dropped, key=lambda recorder: -dropped[recorder])
        named = ", ".join(f"{recorder} {dropped[recorder]:,}" for recorder in most[:3])
        more = f" and {len(most) - 3} more recorders" if len(most) > 3 else ""
        total = sum(dropped.values())
        yield Found("", f"{_counted(total, 'frame was', 'frames were')} dropped within 5 minutes: {named}{more}", total)


def quarantine_rate(evidence: Evidence, limit: float) -> Iterator[Found]:
    for recorder, count in evidence.trends.quarantined.items():
        frames = evidence.trends.frames.get(recorder, 0)
        percent = 100 * count / max(frames, count, 1)
        if count >= _LEAST_QUARANTINED and percent > limit:
            yield Found(recorder, f"{recorder}: {percent:.1f} % of the messages are in quarantine ({count:,})", percent)


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _listed(state: VenueState, what: str, names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{state.venue}: {what}: {', '.join(names[:3])}{more}"


# ---- this machine --------------------------------------------------------------------------------------------


def disk_use(evidence: Evidence, limit: float) -> Iterator[Found]:
    for disk in evidence.disk.systems:
        if disk.percent >= limit:
            free = f"{disk.free / 2**30:.1f} GiB" if disk.free >= 2**30 else f"{disk.free / 2**20:.0f} MiB"
            text = f"the disk of {disk.name} is {disk.percent:.0f} % full, {free} are free"
            yield Found(disk.name, text, disk.percent)


def disk_days(evidence: Evidence, limit: float) -> Iterator[Found]:
    use = evidence.disk.use
    if use is None or use.full_after_s is None or use.measured_over_s < _GROWTH_S:
        return
    if use.full_after_s < limit * 86_400:
        days = use.full_after_s / 86_400
        yield Found(
            "", f"at the rate of the last {use.measured_over_s / 3600:.1f} h the disk is full in {days:.1f} days", days
        )


def clock_offset(evidence: Evidence, limit: float) -> Iterator[Found]:
    offset_s = evidence.clock.offset_s
    if offset_s is not None and abs(offset_s) > limit:
        yield Found("", f"this clock is {offset_s:+.3f} s from its reference", offset_s)


def clock_step(evidence: Evidence, limit: float) -> Iterator[Found]:
    step_s = evidence.clock.step_s
    if abs(step_s) > limit:
        yield Found("", f"this clock jumped by {step_s:+.1f} s: it was set, or the machine slept", step_s)


# ---- polls ---------------------------------------------------------------------------------------------------


def poll_slots_missed(evidence: Evidence, limit: float) -> Iterator[Found]:
    missed = evidence.trends.poll_missed
    if missed > limit:
        yield Found("poller", f"{missed} slots of polls were missed within 10 minutes", missed)


def poll_success(evidence: Evidence, limit: float) -> Iterator[Found]:
    trends = evidence.trends
    if trends.poll_rounds >= _LEAST_ROUNDS:
        percent = 100 * (1 - trends.poll_failed / trends.poll_rounds)
        if percent < limit:
            text = f"{percent:.1f} % of {trends.poll_rounds} rounds of polls succeeded within an hour"
            yield Found("poller", text, percent)


def poll_backlog(evidence: Evidence, limit: float) -> Iterator[Found]:
    overdue = backlog(evidence)
    if overdue is not None and overdue > limit:
        yield Found("poller", f"{overdue:,} slots of polls are overdue", overdue)


def circuit_open(evidence: Evidence, limit: float) -> Iterator[Found]:
    poller = evidence.poller
    if poller is not None and len(poller.circuits) > limit:
        names = ", ".join(poller.circuits)
        yield Found("poller", f"these services failed too often and are not asked now: {names}", len(poller.circuits))


def backlog(evidence: Evidence) -> int | None:
    """Return how many slots of polls are overdue; None without a poller."""
    poller = evidence.poller
    return None if poller is None else sum(job.overdue for job in poller.jobs.values())
