"""Status: healthy only when every program runs, reports, and says that it is live."""

from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from recorder.appliance import disk
from recorder.appliance.disk import Bounded, DiskUse, Sample
from recorder.appliance.status import Status, judge
from recorder.appliance.supervisor import Process
from recorder.cli.columns import duration, size
from recorder.cli.status import disk_lines, gather, table, view, witness_lines
from recorder.process.health import (
    UNREADABLE,
    ColumnsFigures,
    DeriverFigures,
    Figures,
    JournalFigures,
    LinkFailure,
    LinkFigures,
    RecorderFigures,
    Refusal,
    Report,
    WitnessFigures,
    WriterFigures,
)
from recorder.settings import Settings

NOW = 1_800_000_000.0
NAMES = ["postgres", "recorder-x", "writer"]


def process(name: str, state: str = "RUNNING", pid: int = 7, *, uptime_s: float = 90.0) -> Process:
    return Process(name, state, pid, 0, uptime_s)


FIGURES: dict[str, Figures] = {
    "recorder-x": RecorderFigures(
        links=[LinkFigures(last_data_age_s=0.2), LinkFigures(last_data_age_s=3)], frames_per_s=12.0, open_gaps=1
    ),
    "writer": WriterFigures(rows=99, rows_per_s=34.0, lag_bytes=2048, journals={"recorder-x": JournalFigures(2048)}),
}


def report(name: str, state: str = "live", detail: str = "", *, age_s: float = 0.5, pid: int = 7) -> Report:
    return Report(name, pid, NOW - 60, NOW - age_s, state, detail, FIGURES.get(name))


def judged(processes: Iterable[Process], reports: Iterable[Report]) -> Status:
    return judge("/home/x/var", NAMES, {p.name: p for p in processes}, {r.program: r for r in reports}, NOW)


ALL = [process(name) for name in NAMES]
GOOD = [report("recorder-x"), report("writer")]


def test_all_running_and_live_is_healthy_and_shows_its_figures() -> None:
    status = judged(ALL, GOOD)
    assert status.healthy
    assert status.rows == 99
    recorder = next(line for line in status.programs if line.program == "recorder-x")
    assert (recorder.messages_per_s, recorder.data_age_s, recorder.journal_lag_bytes) == (12.0, 0.2, 2048)
    assert recorder.open_gaps == 1
    assert table(status, 140).row_count == 3


def test_the_deriver_shows_how_far_bars_are_behind_in_seconds() -> None:
    figures = DeriverFigures(bars=500, bars_per_s=174.0, lag_s=0.44, database="up")
    reports = {"deriver": Report("deriver", 7, NOW - 60, NOW, "live", "", figures), "writer": report("writer")}
    status = judge("/var", list(reports), {name: process(name) for name in reports}, reports, NOW)
    assert status.healthy
    assert shown(status, "lag") == ["0.4 s", "2 KiB"]
    assert shown(status, "rows/s") == ["174", "34"]


def test_column_files_show_how_far_they_are_behind_the_journals() -> None:
    figures = ColumnsFigures(rows=500, rows_per_s=90.0, lag_s=2.25, disk="up")
    reports = {"columns": Report("columns", 7, NOW - 60, NOW, "live", "", figures)}
    status = judge("/var", list(reports), {name: process(name) for name in reports}, reports, NOW)
    assert status.healthy
    assert shown(status, "lag") == ["2.2 s"]


def test_shards_of_a_venue_are_shown_beside_each_other() -> None:
    names = ["recorder-x-00", "recorder-x-01", "recorder-y"]
    streams = dict(zip(names, (30, 33, 6), strict=True))
    reports = {
        name: Report(name, 7, NOW - 60, NOW, "live", "", RecorderFigures(links=[LinkFigures(streams=streams[name])]))
        for name in names
    }
    status = judge("/var", names, {name: process(name) for name in names}, reports, NOW)
    assert [(line.streams, line.venue_streams) for line in status.programs] == [(30, 63), (33, 63), (6, None)]
    assert shown(status, "streams") == ["30 of 63", "33 of 63", "6"]
    assert {"refused", "silent"}.isdisjoint(titles(status))


def test_refused_and_silent_streams_get_a_column_when_there_are_some() -> None:
    figures = RecorderFigures(links=[LinkFigures(streams=5)], unplaced=3, refused=2, silent=["trade A"])
    bad = Report("recorder-x", 7, NOW - 60, NOW, "degraded", "silent: trade A", figures)
    status = judged(ALL, [bad, report("writer")])
    assert shown(status, "refused") == ["", "5", ""]
    assert shown(status, "silent") == ["", "1", ""]
    assert status.problems == ["recorder-x: degraded: silent: trade A; 5 streams refused"]


def test_a_refused_stream_is_unhealthy_and_its_reason_is_shown_even_where_all_links_live() -> None:
    figures = RecorderFigures(refused=1, refusals=[Refusal("trade NOPE-USD", "unknown symbol")])
    status = judged(ALL, [Report("recorder-x", 7, NOW - 60, NOW, "live", "", figures), report("writer")])
    assert not status.healthy
    assert status.problems == ["recorder-x: live; 1 stream refused, such as trade NOPE-USD (unknown symbol)"]


def test_the_last_error_of_a_recorder_that_is_not_live_is_shown() -> None:
    figures = RecorderFigures(last_error=LinkFailure("ws.kraken.com does not resolve", NOW - 4))
    bad = Report("recorder-x", 7, NOW - 60, NOW, "degraded", "1 of 1 links not live", figures)
    assert judged(ALL, [bad, report("writer")]).problems == [
        "recorder-x: degraded: 1 of 1 links not live; last error 4 s ago: ws.kraken.com does not resolve"
    ]
    recovered = Report("recorder-x", 7, NOW - 60, NOW, "live", "", figures)
    assert judged(ALL, [recovered, report("writer")]).healthy


def test_a_market_that_is_quiet_by_rest_is_healthy_and_said_so() -> None:
    witness = WitnessFigures({"quiet": 3, "agrees": 2, "not comparable": 1}, "trade A: quiet, nothing newer", NOW)
    figures = RecorderFigures(links=[LinkFigures(streams=5)], quiet=["trade A", "book A"], witness=witness)
    status = judged(
        ALL, [Report("recorder-x", 7, NOW - 60, NOW, "live", "2 silent: quiet by REST", figures), report("writer")]
    )
    assert status.healthy
    recorder = next(line for line in status.programs if line.program == "recorder-x")
    assert recorder.quiet == ["trade A", "book A"]
    assert witness_lines(recorder, 120) == [
        "recorder-x: 2 silent: quiet by REST; REST said so far: 2 agrees, 1 not comparable, 3 quiet"
    ]
    encoded = msgspec.json.decode(msgspec.json.encode(status))
    assert encoded["programs"][1]["witness"]["verdicts"]["agrees"] == 2
    writer = next(line for line in status.programs if line.program == "writer")
    assert witness_lines(writer, 120) == []


def titles(status: Status) -> list[object]:
    return [column.header for column in table(status, 200).columns]


def shown(status: Status, title: str) -> list[str]:
    """Return the cells of a column as text."""
    column = next(column for column in table(status, 200).columns if column.header == title)
    return [str(cell) for cell in column.cells]


def test_nothing_running_says_which_home_and_how_to_start() -> None:
    assert judged([], GOOD).problems[0].startswith("the appliance in /home/x/var is not running; `")


def test_programs_without_a_supervisord_are_named() -> None:
    status = judge("/var", NAMES, {}, {}, NOW, ["recorder-x", "postgres"])
    assert not status.healthy
    assert "recorder-x, postgres still run" in status.problems[0]
    starting = judge("/var", NAMES, {}, {}, NOW, ["supervisord", "postgres"])
    assert starting.problems == ["the appliance in /var is starting or stopping: its supervisord does not answer"]


@pytest.mark.parametrize(
    ("processes", "reports", "problem"),
    [
        (
            [process("postgres"), process("recorder-x", "BACKOFF"), process("writer")],
            GOOD,
            "recorder-x: supervisord reports BACKOFF",
        ),
        ([process("recorder-x"), process("writer")], GOOD, "postgres: it was not started"),
        (ALL, [report("writer")], "recorder-x: no health report since its start 90 s ago"),
        (ALL, [report("recorder-x", age_s=60), report("writer")], "recorder-x: no health report for 60 s"),
        (ALL, [report("recorder-x"), report("writer", pid=8)], "writer: no health report since its start"),
        (ALL, [report("recorder-x"), report("writer", "waiting", "database down")], "writer: waiting: database down"),
        (ALL, [report("recorder-x", UNREADABLE, "damaged"), report("writer")], "recorder-x: damaged"),
    ],
)
def test_every_fault_is_named(processes: list[Process], reports: list[Report], problem: str) -> None:
    status = judged(processes, reports)
    assert not status.healthy
    assert status.problems[0].startswith(problem)


@pytest.mark.parametrize("reports", [[], [report("recorder-x", pid=6)]])
def test_a_restarted_program_is_starting_until_its_first_report(reports: list[Report]) -> None:
    processes = [process("postgres"), process("recorder-x", uptime_s=2.0), process("writer")]
    status = judged(processes, [*reports, report("writer")])
    line = next(line for line in status.programs if line.program == "recorder-x")
    assert (line.state, status.healthy) == ("starting", False)


VENUES = ("binance", "bitfinex", "coinbase", "figure", "kraken", "okx", "polymarket")


def demo() -> Status:
    """Return the status of the demo after an hour, with wide figures."""
    names = ["poller", "postgres", *(f"recorder-{venue}" for venue in VENUES), "simulator", "writer"]
    figures = RecorderFigures(links=[LinkFigures(streams=12, last_data_age_s=0.04)], frames_per_s=1284.0, open_gaps=12)
    journals = {name: JournalFigures(935 << 10) for name in names}
    reports = {
        name: Report(name, 7, NOW - 3600, NOW, "live", "", figures) for name in names if name.startswith("recorder")
    }
    reports["poller"] = Report("poller", 7, NOW - 3600, NOW, "live", "")
    writer = WriterFigures(rows=10**6, rows_per_s=24_567.0, lag_bytes=935 << 10, journals=journals)
    reports["writer"] = Report("writer", 7, NOW - 3600, NOW, "live", "", writer)
    status = judge("/var", names, {name: process(name, uptime_s=3600.0) for name in names}, reports, NOW)
    assert status.healthy
    return status


@pytest.mark.parametrize(("width", "left_out"), [(140, set()), (80, set()), (60, {"up", "gaps"})])
def test_the_table_shows_whole_names_and_figures_in_a_narrow_terminal(width: int, left_out: set[str]) -> None:
    status = demo()
    screen = Console(width=width, force_terminal=False)
    with screen.capture() as capture:
        screen.print(table(status, width))
    text = capture.get()
    lines = text.splitlines()
    assert len(lines) == len(status.programs) + 1, "no row is wrapped"
    assert all(len(line) <= width for line in lines)
    assert "…" not in text
    assert [line.split()[0] for line in lines[1:]] == [line.program for line in status.programs]
    every = {"program", "state", "up", "streams", "msg/s", "age", "lag", "rows/s", "gaps"}
    assert set(lines[0].split()) == every - left_out
    assert "1,284" in text


def test_a_program_that_does_not_run_brings_the_column_of_processes() -> None:
    assert "process" not in titles(demo())
    stopped = judged([process("postgres"), process("recorder-x", "FATAL"), process("writer")], GOOD)
    assert shown(stopped, "process") == ["RUNNING", "FATAL", "RUNNING"]


def sample(age_s: float, used: int) -> Sample:
    return Sample(NOW - age_s, {"database": used})


def test_disk_growth_is_unknown_until_two_distant_measurements_exist() -> None:
    assert disk.growth([], sample(0, 100)) == ({}, 0.0)
    assert disk.growth([sample(60, 0)], sample(0, 100)) == ({}, 0.0)
    assert disk.growth([sample(3600, 28)], sample(0, 100)) == ({"database": 0.02}, 3600.0)
    days_ago = [sample(3 * disk.DAY_S, 0), sample(7200, 28), sample(3600, 95)]
    assert disk.growth(days_ago, sample(0, 100)) == ({"database": 0.01}, 7200.0)


def test_what_is_trimmed_at_a_size_does_not_fill_the_disk_beyond_that_size() -> None:
    journal, wal = Bounded(per_s=10.0, room=50.0), Bounded(per_s=1.0, room=100.0)
    assert disk.full_after_s(1000.0, 1.0, []) == 1000.0
    assert disk.full_after_s(1000.0, 1.0, [journal, wal]) == 850.0, "both reach their size, so 150 less are free"
    assert disk.full_after_s(24.0, 1.0, [journal, wal]) == 2.0, "the disk is full before either reaches its size"
    assert disk.full_after_s(1000.0, 0.0, [journal, wal]) is None
    assert disk.full_after_s(1000.0, -5.0, [Bounded(-1.0, 50.0), Bounded(10.0, 0.0)]) is None


def test_a_measurement_tells_the_growth_of_the_database_from_its_wal_and_the_journal(tmp_path: Path) -> None:
    settings = Settings.load(Path("demo"), {"TAPEDECK_HOME": str(tmp_path)})
    files = [tmp_path / "postgres/data/base", tmp_path / "postgres/data/pg_wal/0", settings.journal.dir / "0.seg"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * (1 << 20))
    assert disk.measure(settings, NOW).growth_per_day is None
    for file in files[1:]:
        file.write_bytes(b"x" * (8 << 20))
    assert disk.measure(settings, NOW + 3600).growth_per_day == 0.0
    files[0].write_bytes(b"x" * (5 << 20))
    use = disk.measure(settings, NOW + 7200)
    assert (use.growth_per_day, use.measured_over_s) == (float((4 << 20) * 12), 7200.0)
    assert use.full_after_s is not None
    assert use.full_after_s > (use.free - (40 << 30)) / ((4 << 20) / 7200), "the bounded parts cost their bound at most"


def use_of_disk() -> DiskUse:
    return DiskUse(journal=200 << 20, database=400 << 20, truth=None, logs=84 << 10, free=10 << 30)


def test_the_lines_about_the_disk_say_what_grows_and_when_it_is_full() -> None:
    use = use_of_disk()
    assert disk_lines(use, 140) == [
        "disk: 600 MiB used (journals 200 MiB with what is loaded, database 400 MiB, logs 84 KiB), 10.0 GiB free",
        "disk: growth is known after 10 min",
    ]
    use.growth_per_day, use.full_after_s, use.measured_over_s = float(5 << 30), 43_200.0, 1800.0
    assert disk_lines(use, 140)[1] == (
        "disk: the database grows 5.0 GiB a day (measured over 30 min); full in 12.0 h at the present rate"
    )
    use.growth_per_day, use.full_after_s = 0.0, None
    assert disk_lines(use, 140)[1] == "disk: the database does not grow (measured over 30 min)"
    use.growth_per_day = None
    assert "the database is elsewhere, and all that is kept here is bounded" in disk_lines(use, 140)[1]


def test_the_status_says_what_the_gaps_are_that_it_counts() -> None:
    def said(open_gaps: int) -> str:
        figures = RecorderFigures(links=[LinkFigures(streams=3)], open_gaps=open_gaps)
        report = Report("recorder-x", 7, NOW - 60, NOW, "live", "", figures)
        current = judge("home", [], {"recorder-x": process("recorder-x")}, {"recorder-x": report}, NOW)
        screen = Console(width=200)
        with screen.capture() as capture:
            screen.print(view(current, 200))
        return capture.get()

    assert "gaps: subscribed streams whose gap is going on" in said(2)
    assert "gaps: " not in said(0)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_line_about_the_disk_ends_between_a_number_and_its_unit(width: int) -> None:
    use = use_of_disk()
    use.growth_per_day, use.full_after_s, use.measured_over_s = float(5 << 30), 43_200.0, 1800.0
    lines = disk_lines(use, width)
    assert len(lines) > 2
    assert all(len(line) <= width for line in lines)
    assert not any(line[-1].isdigit() for line in lines)
    assert " ".join(line.strip() for line in lines) == " ".join(disk_lines(use, 400))


def test_a_folder_counts_what_its_files_take_on_disk(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"x" * 100_000)
    assert 100_000 <= disk.folder_bytes(tmp_path) <= 120_000
    assert disk.folder_bytes(tmp_path / "missing") == 0
    assert disk.free_bytes(tmp_path / "missing" / "deeper") > 0


def test_figures_read_as_a_person_writes_them() -> None:
    assert [duration(s) for s in (42, 300, 7200, 1e6)] == ["42 s", "5 min", "2.0 h", "12 d"]
    assert [size(n) for n in (12, 2048, 5 << 20, 3 << 30)] == ["12 B", "2 KiB", "5 MiB", "3.0 GiB"]


def load(home: Path, url: str = "") -> Settings:
    return Settings.load(Path("demo"), {"TAPEDECK_HOME": str(home), "DATABASE_URL": url})


OTHER = "postgresql://me:hunter2@db.example:5433/tape?password=hunter3"


@pytest.mark.parametrize(("started", "named"), [("", OTHER), (OTHER, "")])
def test_settings_that_name_another_database_than_the_running_one_are_noted(
    started: str, named: str, tmp_path: Path
) -> None:
    (tmp_path / "running").write_text(load(tmp_path, started).running_note())
    places = {"": "the embedded Postgres (tapedeck_demo)", OTHER: "db.example:5433/tape"}
    current = gather(load(tmp_path, named), ALL)
    assert current.notes == [
        f"the running appliance records into {places[started]}, but these settings name {places[named]}"
    ]
    screen = Console(width=140)
    with screen.capture() as capture:
        screen.print(view(current, 140))
    assert current.notes[0] in capture.get()
    assert "hunter" not in capture.get() + (tmp_path / "running").read_text()
    assert gather(load(tmp_path, started), ALL).notes == []
    assert gather(load(tmp_path, named), []).notes == [], "nothing runs"


def test_the_disk_figure_is_that_of_the_running_database(tmp_path: Path) -> None:
    (tmp_path / "running").write_text(load(tmp_path).running_note())
    assert disk.measure(load(tmp_path, OTHER), NOW).database is not None
    (tmp_path / "running").unlink()
    assert disk.measure(load(tmp_path, OTHER), NOW).database is None
