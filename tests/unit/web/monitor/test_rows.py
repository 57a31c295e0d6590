"""The page of monitoring: the judgements of status and watchdog, in order, with ages of now."""

from datetime import UTC, datetime

from recorder.appliance.observation import Observation
from recorder.appliance.status import judge
from recorder.appliance.supervisor import Process
from recorder.process.health import LinkFailure, LinkFigures, RecorderFigures, Report, WriterFigures
from recorder.watchdog.delivery.marks import Marks
from recorder.watchdog.verdicts import HealthPage, Item
from recorder.web.monitor import formats
from recorder.web.monitor import rows as monitoring
from recorder.web.monitor.gather import items
from recorder.web.monitor.observed import Seen
from recorder.web.queries.monitoring import FieldRow, PollRow, StreamRow, VenueRows

NOW = 1_800_000_000.0
BEGAN = datetime.fromtimestamp(NOW - 90, UTC)


def report(program: str, age_s: float, figures: RecorderFigures | WriterFigures) -> Report:
    return Report(program, 7, NOW - 500, NOW - age_s, "live", "", figures)


def recorder(**changes: object) -> RecorderFigures:
    link = LinkFigures(0, "LIVE", 3, last_data_age_s=0.5, last_error=LinkFailure("reset", NOW - 99))
    return RecorderFigures(**{"links": [link], "frames_per_s": 20.0, "reconnects": 2, **changes})  # type: ignore[arg-type]


def seen(*reports: Report) -> Seen:
    processes = {one.program: Process(one.program, "RUNNING", 7, 0, 100.0) for one in reports}
    by_name = {one.program: one for one in reports}
    status = judge("home", list(by_name), processes, by_name, NOW)
    return Seen(NOW, Observation(processes, by_name, status), (), Marks(), True)


def test_programs_come_worst_first_and_a_late_report_is_pointed_out_before_it_is_judged() -> None:
    found = monitoring.programs(
        seen(
            report("recorder-kraken", 0.5, recorder()),
            report("recorder-okx", 3.0, recorder()),
            report("recorder-figure", 60.0, recorder()),
            report("writer", 0.2, WriterFigures(lag_bytes=5)),
        )
    )
    assert [(row.name, row.sign) for row in found] == [
        ("recorder-figure", "bad"),
        ("recorder-okx", "unknown"),
        ("recorder-kraken", "good"),
        ("writer", "good"),
    ]
    assert found[0].text == "no health report for 60 s"
    assert found[1].text == "its last report is 3 s old"
    assert found[2].data_age_s == 1.0  # half a second when it reported, and half a second since
    assert [row.command for row in found[1:3]] == ["tapedeck logs recorder-okx", ""]


def test_a_stream_is_live_stale_or_disconnected_as_its_gap_and_its_recorder_say() -> None:
    rows = [
        StreamRow("kraken", "A", "trade", "hand", None, None),
        StreamRow("kraken", "B", "trade", "hand", None, None),
        StreamRow("kraken", "C", "book", "hand", "checksum", BEGAN),
        StreamRow("okx", "D", "quote", "hand", None, None),
    ]
    look = seen(report("recorder-kraken", 0.5, recorder(silent=["trade B"])), report("recorder-okx", 99.0, recorder()))
    found = monitoring.streams(rows, look)
    assert [(line.symbol, line.state, line.cause, line.for_s) for line in found] == [
        ("C", "DISCONNECTED", "checksum", 90.0),
        ("D", "DISCONNECTED", "its recorder does not report", None),
        ("B", "STALE", "silent", None),
        ("A", "LIVE", "", None),
    ]
    assert [line.subscribed for line in found] == [False, False, True, True]


def test_a_venue_has_the_verdict_of_the_watchdog_and_none_without_it() -> None:
    look = seen(report("recorder-kraken", 0.5, recorder()), report("recorder-okx", 0.5, recorder()))
    page = HealthPage(True, False, 1.0, [Item("venue okx", "warning", "1 streams are silent", 1.0)], [])
    stored = [VenueRows("okx", 60, 1, 2, 3, 4, 5)]
    lines = monitoring.streams([StreamRow("okx", "D", "quote", "hand", None, None)], look)
    first, second = monitoring.venues(look, page, stored, lines)
    assert (first.venue, first.sign, first.text, first.state) == ("okx", "warn", "1 streams are silent", "LIVE")
    assert (first.should_be, first.live, first.connections_open, first.connections) == (1, 1, 1, 1)
    assert first.rows == stored[0]
    assert (second.venue, second.sign, second.state) == ("kraken", "unknown", None)
    assert [line.sign for line in monitoring.venues(look, None, None, None)] == ["unknown", "unknown"]
    assert [line.should_be for line in monitoring.venues(look, None, None, None)] == [None, None]


def test_a_venue_with_a_stream_that_is_disconnected_has_no_tick() -> None:
    look = seen(report("recorder-kraken", 0.5, recorder()))
    page = HealthPage(True, False, 1.0, [Item("venue kraken", "ok", "", 1.0)], [])
    streams = [StreamRow("kraken", name, "book", "hand", None, None) for name in "AB"]
    broken = StreamRow("kraken", "C", "book", "hand", "checksum", BEGAN)
    (whole,) = monitoring.venues(look, page, None, monitoring.streams(streams, look))
    (part,) = monitoring.venues(look, page, None, monitoring.streams([*streams, broken], look))
    assert [(one.sign, one.state, one.disconnected) for one in (whole, part)] == [
        ("good", "LIVE", 0),
        ("warn", "LIVE", 1),
    ]


def test_a_clock_that_is_not_synchronised_has_no_tick() -> None:
    texts = ("synchronised", "not synchronised", "the kernel does not say")
    page = HealthPage(True, False, 1.0, [Item("clock", "ok", text, 1.0) for text in texts], [])
    assert [one["sign"] for one in items(page, unhealthy=False)] == ["good", "warn", "unknown"]


def test_connections_say_their_last_error_and_are_unknown_when_the_report_is_old() -> None:
    look = seen(report("recorder-kraken", 0.5, recorder()), report("recorder-okx", 60.0, recorder()))
    assert [(row.venue, row.sign, row.last_error) for row in monitoring.connections(look)] == [
        ("okx", "unknown", "reset"),
        ("kraken", "good", "reset"),
    ]


def test_shares_of_polls_and_fields() -> None:
    polls = [PollRow("a", 10, 9, 1, 0, 4, None), PollRow("b", 0, 0, 0, 0, 7, None)]
    assert monitoring.success(polls) == 0.9
    assert monitoring.success(polls[1:]) is None
    full = FieldRow("crypto", "T1", 4, {"bid": 4, "ask": 4})
    half = FieldRow("sports", "T0", 4, {"bid": 4, "ask": 0})
    first, second = monitoring.fields([full, half])
    assert (first.category, first.share, first.worst) == ("sports", 0.5, [("ask", 0.0)])
    assert (second.share, second.worst) == (1.0, [])


def test_what_is_not_complete_never_reads_100_percent() -> None:
    shares = (1, 0.99999, 0.5, 0, None)
    assert [formats.percent(share) for share in shares] == ["100 %", "> 99.9 %", "50 %", "0 %", ""]
    assert [formats.age(seconds) for seconds in (0.04, 12, 300, 90_000, None)] == ["0.0 s", "12 s", "5 min", "25 h", ""]
    assert [formats.size(count) for count in (5, 2048, 3 << 30)] == ["5 B", "2 KiB", "3.0 GiB"]
    assert [formats.number(value) for value in (0, 0.25, 1234.5)] == ["0", "0.2", "1,234"]


def test_postgres_is_healthy_only_while_it_answers_although_its_process_runs() -> None:
    processes = {"postgres": Process("postgres", "RUNNING", 7, 0, 100.0)}
    found = Seen(NOW, Observation(processes, {}, judge("home", ["postgres"], processes, {}, NOW)), (), Marks(), True)
    (well,) = monitoring.programs(found)
    assert (well.sign, well.state, well.text) == ("good", "answers", "answers questions")
    (away,) = monitoring.programs(found, "connection refused")
    assert (away.sign, away.text) == ("bad", "it does not answer: connection refused")
