"""One look at everything, and the judgement on it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from recorder.outside.bounded import Fault
from recorder.outside.postgres import Rows, ask_postgres
from recorder.outside.processes import Running, expected, pid_in, reports, running, supervised
from recorder.outside.sources import ROOT, Sources
from recorder.outside.texts import duration, number, size, table, when

OK, WARNING, CRITICAL, UNKNOWN = range(4)

STALE_S = 10.0  # as in recorder/process/health.py
START_S = 60.0  # as in recorder/appliance/status.py
WINDOW_S = 300
DISK_WARNING, DISK_CRITICAL = 2 << 30, 256 << 20  # free bytes
# Nothing is lost while these are down.
NOT_RECORDING = ("watchdog", "deriver", "columns", "keeper", "web", "jupyter", "simulator")
# They write a health report every second.
REPORTING = ("recorder", "writer", "deriver", "columns", "keeper", "poller", "watchdog", "web")


class Result(NamedTuple):
    """A check: what a monitoring system reads, and the summary."""

    problems: list[tuple[int, str]]  # level, text
    lines: list[str]
    figures: dict[str, str]  # performance data
    sentence: str  # what is said when there is no problem
    unwatched: bool  # the watchdog cannot send an alert about this
    supervised: bool = False  # supervisord runs: a program that died comes back within seconds


class Seen(NamedTuple):
    """What one look found."""

    now: float  # unix seconds
    found: dict[str, Running]
    reports: dict[str, dict[str, Any]]
    states: dict[str, str] | None  # of supervisord; None when it does not answer
    full: bool  # the disk takes nothing

    @property
    def uptime_s(self) -> float:
        """How long supervisord has run; 0 when it does not, or when that is not known."""
        supervisord = self.found.get("supervisord")
        return 0.0 if supervisord is None else supervisord.uptime_s

    @property
    def young(self) -> bool:
        """Whether the appliance was started a moment ago: then nothing is critical yet."""
        return 0 < self.uptime_s < START_S


def check(home: Path, folder: Path, note: str) -> Result:
    """Look at everything once, and judge.

    Args:
        home: The folder of the appliance's state.
        folder: Where its programs work.
        note: Content of the file `running`; empty where there is none.

    Raises:
        Fault: nothing can be said.
    """
    lines = [f"home      {home}"]
    try:
        os.listdir(home)
    except PermissionError:
        raise Fault(f"{home} cannot be read by this user: run the check as the user of the appliance") from None
    except OSError as error:
        text = f"the home {home} cannot be read: {error.strerror}"
        return Result([(CRITICAL, text)], lines, {}, "", unwatched=True)
    problems = disk_space(home)
    full = any(level == CRITICAL for level, _ in problems)
    found = running(home)
    if not note and not found:  # `tapedeck down` removes the note
        problems.append((CRITICAL, f"the appliance is stopped; `tapedeck up` starts it in {home}"))
        return Result(problems, lines, {}, "", unwatched=False)
    try:
        names, python = expected(home)
    except (OSError, Fault):
        names, python = sorted(set(found) - {"supervisord"}), ROOT / ".venv" / "bin" / "python"
        problems.append((WARNING, f"{home}/supervisord.conf, which lists the programs, cannot be read"))
    states, stopping = supervised(home)
    seen = Seen(time.time(), found, reports(home), states, full)
    add_supervisord(home, seen, problems, lines)
    for name in names:
        level, text = judge(name, seen)
        if level != OK:
            problems.append((min(level, WARNING) if seen.young else level, f"{name} {text}"))
    down = [name for name in names if name not in found]
    sentence = f"{len(names) - len(down)} of {len(names)} programs run"
    lines.append(f"programs  {sentence}{'; down: ' if down else ''}{', '.join(down)}")
    memory = sum(one.memory for one in found.values())
    largest = sorted(found.items(), key=lambda item: -item[1].memory)[:3]
    lines.append(f"memory    {size(memory)} ({', '.join(f'{name} {size(one.memory)}' for name, one in largest)})")
    figures = {"programs": str(len(names) - len(down)), "uptime": f"{seen.uptime_s:.0f}s", "memory": f"{memory}B"}
    server = found.get("postgres")
    if "postgres" in names and (server is None or server.stopped):  # its state is a problem already
        rows = Rows({}, {}, "", "not asked: the server is stopped" if server else "not asked: the server does not run")
    else:
        rows = ask_postgres(home, python, Sources(folder, note), note)
    add_rows(rows, seen, problems, lines, figures)
    if "watchdog" not in names:
        unwatched = any(level == CRITICAL for level, _ in problems)
        lines.append("alerts    the settings start no watchdog")
    else:
        dead = watchdog_dead(seen)
        unwatched = dead and not seen.young
        lines.append(f"alerts    the watchdog {'is dead and sends none' if dead else 'runs'}")
    if stopping:  # somebody stops the appliance, or restarts it
        lines.append("process   supervisord is ending all programs")
        unwatched = False
    return Result(problems, lines, figures, sentence, unwatched, "supervisord" in found)


def add_supervisord(home: Path, seen: Seen, problems: list[tuple[int, str]], lines: list[str]) -> None:
    """Judge supervisord itself."""
    supervisord = seen.found.get("supervisord")
    if supervisord is None:
        stale = pid_in(home / "supervisord.pid")
        text = "supervisord is not running" + (f" (stale pid {stale})" if stale else "")
        problems.append((CRITICAL, text))
        lines.append(f"process   {text}")
        return
    pid = supervisord.pids[0]
    if seen.states is None:
        hangs = "is stopped by a signal" if supervisord.stopped else "does not answer"
        problems.append((WARNING if seen.young else CRITICAL, f"supervisord {hangs} (pid {pid})"))
    lines.append(f"process   supervisord (pid {pid}) has run for {duration(supervisord.uptime_s)}")


def watchdog_dead(seen: Seen) -> bool:
    """Return whether the watchdog does not run or does not work. A full disk takes no report, so none is no proof."""
    watchdog = seen.found.get("watchdog")
    if watchdog is None or watchdog.stopped:
        return True
    report = seen.reports.get("watchdog", {})
    return not seen.full and min(watchdog.uptime_s, seen.now - number(report.get("updated_at"))) > START_S


def judge(name: str, seen: Seen) -> tuple[int, str]:
    """Return the level of one program, and what is wrong."""
    found, report, state = seen.found.get(name), seen.reports.get(name), (seen.states or {}).get(name, "")
    bad = WARNING if name in NOT_RECORDING else CRITICAL
    if found is None:
        return bad, f"is not running{f' ({state})' if state else ''}"
    if found.stopped:
        return bad, f"is stopped by a signal (pid {found.pids[0]})"
    if name.partition("-")[0] not in REPORTING:
        return OK, ""
    own = report is not None and report.get("pid") in found.pids
    if report is None or not own:
        return (bad if found.uptime_s > START_S else WARNING), "has not reported since its start"
    age_s = seen.now - number(report.get("updated_at"))
    if age_s > STALE_S:
        why = "; the disk takes no report" if seen.full else ""
        return bad, f"runs, and has not reported for {duration(age_s)}{why}"
    if report.get("state") != "live":
        return WARNING, f"is {report.get('state')}: {report.get('detail')}"[:200]
    refused = sum(number(table(report.get("figures")).get(key)) for key in ("unplaced", "refused"))
    return (WARNING, f"has {refused:.0f} streams refused") if refused else (OK, "")


def add_rows(
    rows: Rows, seen: Seen, problems: list[tuple[int, str]], lines: list[str], figures: dict[str, str]
) -> None:
    """Add what Postgres holds; where it was not asked, what the writer reports."""
    writer = seen.reports.get("writer", {})
    loaded = table(writer.get("figures"))
    figures["lag"] = f"{number(loaded.get('lag_bytes')):.0f}B"
    if rows.problem:
        problems.append((WARNING if seen.young else CRITICAL, f"Postgres does not answer: {rows.problem}"))
    elif rows.unknown and loaded.get("database") not in ("up", "", None):
        problems.append((CRITICAL, f"the writer reports about Postgres: {loaded['database']}"[:200]))
    lines.append(f"postgres  {rows.problem or rows.note or 'answers'}")
    if rows.recent:
        counts = {name: number(rows.recent.get(name)) for name in ("quote", "trade", "book")}
        figures.update({f"{name}_5min": f"{count:.0f}" for name, count in counts.items()})
        recent = f"in 5 min  {_rows_text(counts)} rows"
        if seen.uptime_s > WINDOW_S and not any(counts.values()):
            problems.append((CRITICAL, "no row in the last 5 minutes"))
    else:
        recent = f"in 5 min  not counted; the writer reports {number(loaded.get('rows_per_s')):,.0f} rows/s"
    if rows.totals:
        counts = {name: number(count) for name, count in table(rows.totals.get("total")).items()}
        lines += [f"in all    {f'{_rows_text(counts)} rows' if counts else 'no row'}", recent]
        last = number(rows.recent.get("last")) or number(rows.totals.get("written"))
        lines.append(
            f"last      {f'{when(last)}, {duration(max(0.0, seen.now - last))} ago' if last else 'no record yet'}"
        )
    else:
        rows_loaded = number(loaded.get("rows"))
        lines += [f"in all    not counted; the writer has loaded {rows_loaded:,.0f} rows since its start", recent]
        loaded_until = [number(table(one).get("stored_until")) for one in table(loaded.get("journals")).values()]
        until = max(loaded_until, default=0.0)
        lines.append(f"last      {f'loaded until {when(until)}, as the writer reports' if until else 'not known'}")
    ages = [age for name in seen.found if name.startswith("recorder-") for age in data_ages_s(name, seen)]
    lines.append(f"received  {f'data {duration(min(ages))} ago' if ages else 'no recorder reports data'}")


def _rows_text(counts: dict[str, float]) -> str:
    return ", ".join(f"{count:,.0f} {name}" for name, count in counts.items())


def data_ages_s(recorder: str, seen: Seen) -> list[float]:
    """Return how long ago each connection of a recorder brought data."""
    report = seen.reports.get(recorder, {})
    older_s = max(0.0, seen.now - number(report.get("updated_at")))
    links = table(report.get("figures")).get("links")
    ages = [table(link).get("last_data_age_s") for link in (links if isinstance(links, list) else [])]
    return [older_s + number(age_s) for age_s in ages if age_s is not None]


def disk_space(home: Path) -> list[tuple[int, str]]:
    """Return what is wrong with the disks of the home."""
    problems: dict[int, tuple[int, str]] = {}
    for place in (home, home / "journal", home / "postgres"):
        with contextlib.suppress(OSError):
            disk, device = os.statvfs(place), os.stat(place).st_dev
            free = disk.f_bavail * disk.f_frsize
            if disk.f_flag & os.ST_RDONLY:
                problems.setdefault(device, (CRITICAL, f"the disk of {place} is read-only"))
            elif free < DISK_WARNING or (not disk.f_favail and disk.f_files):
                level = CRITICAL if free < DISK_CRITICAL or free >= DISK_WARNING else WARNING
                problems.setdefault(device, (level, f"the disk of {place} has {size(free)} free"))
    return list(problems.values())
