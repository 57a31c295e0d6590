"""The pages: metrics that every tool can read, verdicts, and a server that nothing outside can hold up."""

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.machine.ports import free_port
from support.watchdog import LIMITS, NOW, NOW_S, VENUES, evidence, facts, recorder, report

from recorder.appliance.supervisor import Process
from recorder.errors import ConfigError
from recorder.process.health import JobFigures, JournalFigures, PollerFigures, WriterFigures
from recorder.settings import WatchdogSettings
from recorder.watchdog import verdicts
from recorder.watchdog.activity.figures import Activity, InstrumentTrades, TradeFigures, VenueTrades, VenueTraffic
from recorder.watchdog.alerts import Held
from recorder.watchdog.delivery.outbox import Traffic
from recorder.watchdog.evidence import (
    DatabaseEvidence,
    DiskEvidence,
    Evidence,
    FileSystem,
    JournalPosition,
    Loaded,
    PollSlots,
    Trends,
)
from recorder.watchdog.pages import metrics
from recorder.watchdog.pages.samples import Own
from recorder.watchdog.pages.server import MOST_AT_ONCE, REQUEST_BYTES, REQUEST_S, Pages, Server
from recorder.watchdog.round import Snapshot
from recorder.watchdog.totals import Totals

SETTINGS = WatchdogSettings()
NORTH = "recorder-north"
UNITS = ("seconds", "bytes", "ratio", "info", "total", "rate")


def full() -> Evidence:
    known = facts(
        loaded=[Loaded("trade", 10, 8, 1, 1)], slots=[PollSlots("done", 9)], gaps={"north": 2},
        positions=[JournalPosition(NORTH, 3, 99, 0.5)],
    )  # fmt: skip
    poller = PollerFigures(jobs={"discovery": JobFigures(rounds=4, failed=1, last_duration_s=0.5)})
    return evidence(
        reports={"poller": report("poller", poller)},
        database=DatabaseEvidence("up", "", 0.0, known),
        trends=Trends(no_data_s=dict.fromkeys(VENUES, 1.0), poll_rounds=4, poll_failed=1),
    )


def page(given: Evidence, totals: Totals | None = None) -> bytes:
    held = [Held("venue_no_data", "north", "quiet", 601.0, NOW, alert_id=5, fired_at=NOW)]
    return metrics.render(
        given, totals or Totals(), held, LIMITS, Own(3, 0.01, 0, {"/health": 2}, {"email": Traffic(1, 2, 3, 4)}), NOW
    )


def values(text: bytes) -> dict[str, float]:
    return {
        " ".join((sample.name, *(sample.labels[name] for name in sorted(sample.labels)))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_there_are_sixty_metrics_with_help_units_and_values() -> None:
    text = page(full())
    families = list(text_string_to_metric_families(text.decode()))
    assert len(families) == len(metrics.METRICS) >= 60
    assert all(family.documentation.endswith(".") for family in families)
    shown = values(text)
    assert shown["tapedeck_recorder_frames_total recorder-north north"] == 50
    assert shown["tapedeck_ledger_inserted_rows_total trade"] == 8
    assert shown["tapedeck_poll_success_ratio"] == 0.75
    assert shown["tapedeck_alerts venue_no_data page firing"] == 1
    for spec in metrics.METRICS:
        assert spec.name.startswith("tapedeck_")
        assert (spec.kind == "counter") == spec.name.endswith("_total"), spec.name
        assert not any(word in spec.name.split("_") for word in ("ms", "days", "hours", "percent", "kb", "mb"))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool, which comes with Prometheus")
def test_promtool_has_no_complaint() -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=page(full()), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_values_from_outside_cannot_break_the_page_or_make_it_large() -> None:
    many = {f'job"\n{number}': JobFigures(rounds=1) for number in range(2_000)}
    text = page(evidence(reports={"poller": report("poller", PollerFigures(jobs=many))}))
    rounds = [name for name in values(text) if name.startswith("tapedeck_poll_job_rounds_total")]
    assert len(rounds) == metrics.MOST_SERIES


def traded(*symbols: str) -> Evidence:
    instruments = [InstrumentTrades("north", one, 3, 1.5, 2.0, 1.0, 4.0, 3.0, 1.0, 1, NOW - 5) for one in symbols]
    trades = TradeFigures(NOW - 60, NOW, [VenueTrades("north", 3 * len(symbols), len(symbols), 9)], instruments)
    activity = Activity(60.0, [VenueTraffic("north", 12.5, 1, 2, 0.5)], trades)
    return evidence(activity=activity, charted=instruments)


def test_the_last_interval_is_shown_and_what_is_unknown_is_absent() -> None:
    shown = values(page(traded("A/USD")))
    assert shown["tapedeck_interval_trades north"] == 3
    assert shown["tapedeck_interval_trades south"] == 0, "it is known that nothing traded"
    assert shown["tapedeck_interval_message_rate north"] == 12.5
    assert shown["tapedeck_instrument_vwap A/USD north"] == 1.5
    assert shown["tapedeck_instrument_buy_sell_ratio A/USD north"] == 3.0
    assert shown["tapedeck_interval_trades_known"] == 1
    unknown = values(page(full()))
    assert unknown["tapedeck_interval_trades_known"] == 0
    assert not any(name.startswith(("tapedeck_interval_trades n", "tapedeck_instrument_")) for name in unknown)


def test_symbols_of_venues_cannot_break_the_page() -> None:
    long = "x" * 200
    shown = values(page(traded('A"\n\x1b', long + "1", long + "2")))
    assert shown['tapedeck_instrument_trades A"\\n\\x1b north'] == 3
    assert len([name for name in shown if name.startswith("tapedeck_instrument_trades x")]) == 1


def test_restarts_by_the_watchdog_are_counted_over_its_own_restarts() -> None:
    totals = Totals()

    def shown(count: int, since: float) -> float:
        own = Own(3, 0.01, 0, {}, {}, restarts={NORTH: count})
        return values(metrics.render(full(), totals, [], LIMITS, own, since))[
            "tapedeck_watchdog_restarts_total recorder-north"
        ]

    assert [shown(2, NOW), shown(0, NOW + 9), shown(1, NOW + 9)] == [2, 2, 3]


def test_counters_continue_over_a_restart_of_a_recorder() -> None:
    totals = Totals()
    page(full(), totals)
    started = report(NORTH, recorder(frames=7))
    again = evidence(reports={NORTH: type(started)(NORTH, 8, NOW, NOW, "live", "", started.figures)})
    assert values(page(again, totals))["tapedeck_recorder_frames_total recorder-north north"] == 57


def verdict(given: Evidence, name: str) -> str:
    return next(item.verdict for item in verdicts.health(given, [], SETTINGS, NOW_S).items if item.name == name)


def disk(percent: float) -> Evidence:
    return evidence(disk=DiskEvidence([FileSystem("home", 100, 1, percent)], NOW_S))


def polls(rounds: int, failed: int) -> Evidence:
    return evidence(trends=Trends(poll_rounds=rounds, poll_failed=failed))


def overdue(slots: int) -> Evidence:
    return evidence(reports={"poller": report("poller", PollerFigures(jobs={"a": JobFigures(overdue=slots)}))})


def connections(used: int) -> Evidence:
    return evidence(database=DatabaseEvidence("up", "", 0.0, facts(connections=used, max_connections=100)))


def lag(lag_s: float) -> Evidence:
    figures = WriterFigures(database="up", journals={NORTH: JournalFigures(9, NOW - lag_s, lag_s)})
    return evidence(reports={"writer": report("writer", figures)})


def quiet(north_s: float, south_s: float) -> Evidence:
    return evidence(trends=Trends(no_data_s={"north": north_s, "south": south_s}))


@pytest.mark.parametrize(
    ("given", "status", "named"),
    [
        (evidence(), "ok", ""),
        (disk(89), "ok", ""), (disk(91), "warning", "disk of home"), (disk(96), "critical", "disk of home"),
        (connections(89), "ok", ""), (connections(90), "warning", "postgres connections"),
        (connections(95), "critical", "postgres connections"),
        (quiet(301, 299), "ok", ""), (quiet(301, 302), "critical", "market data"),
        (polls(100, 10), "ok", ""), (polls(100, 11), "warning", "poll success"),
        (polls(100, 21), "critical", "poll success"),
        (overdue(500), "ok", ""), (overdue(501), "warning", "poll backlog"),
        (overdue(1_001), "critical", "poll backlog"),
        (lag(60), "ok", ""), (lag(61), "critical", "journals"),
        (evidence(database=DatabaseEvidence("hung", "no answer", 9.0, facts())), "warning", "postgres"),
        (evidence(database=DatabaseEvidence("down", "full (SQLSTATE 53300)", 0.0, None)), "critical", "postgres"),
        (evidence(reports={NORTH: report(NORTH, age_s=40)}), "critical", "recording"),
        (evidence(processes={NORTH: Process(NORTH, "FATAL", 0, 1, 0.0)}), "critical", "recording"),
        (evidence(trends=Trends(shed={NORTH: 3})), "critical", "recording"),
    ],
)  # fmt: skip
def test_critical_has_the_thresholds_of_the_settings(given: Evidence, status: str, named: str) -> None:
    found = verdicts.critical(given, SETTINGS, NOW_S)
    assert found.critical == (status == "critical")
    items = found.reasons if status == "critical" else found.warnings
    assert [item.name for item in items] == ([named] if named else [])


def test_a_recorder_that_starts_is_no_emergency_and_one_that_starts_again_and_again_is() -> None:
    for state in ("STARTING", "STOPPING"):
        starting = {NORTH: Process(NORTH, state, 9, 0, 0.4)}
        assert not verdicts.critical(evidence(processes=starting), SETTINGS, NOW_S).critical
        again = evidence(processes=starting, trends=Trends(restarts={NORTH: 3}))
        assert verdicts.critical(again, SETTINGS, NOW_S).critical
    young = evidence(reports={NORTH: None}, processes={NORTH: Process(NORTH, "RUNNING", 9, 0, 20.0)})
    assert not verdicts.critical(young, SETTINGS, NOW_S).critical, "it has a minute until its first report"


def test_health_is_well_while_recording_works_and_says_how_old_everything_is() -> None:
    outage = evidence(
        reports={NORTH: report(NORTH, recorder(failures=9), state="degraded")},
        database=DatabaseEvidence("hung", "no answer", 900.0, facts(at_s=NOW_S - 900)),
    )
    found = verdicts.health(outage, [], SETTINGS, NOW_S + 2)
    assert found.recording, "an outage of a venue and of Postgres is recorded"
    assert not found.healthy
    ages = {item.name: item.age_s for item in found.items}
    assert ages["postgres"] == pytest.approx(902)
    assert ages[f"program {NORTH}"] == pytest.approx(2.5)
    assert verdict(outage, "venue north") == "warning"
    assert not verdicts.health(outage, [], SETTINGS, NOW_S + 600).recording, "a round that old says nothing"
    assert verdicts.critical(outage, SETTINGS, NOW_S + 600).critical


@pytest.fixture
def server() -> Iterator[Server]:
    snapshot = Snapshot(full(), [], page(full()))
    running = Server(free_port(), Pages(SETTINGS, lambda: snapshot))
    stop = threading.Event()
    thread = threading.Thread(target=running.part(), args=(stop,))
    thread.start()
    yield running
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def exchange(server: Server, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=REQUEST_S + 5) as client:
        client.sendall(request)
        answer = b""
        while more := client.recv(65536):
            answer += more
        return answer


def get(server: Server, path: str, host: str = "127.0.0.1:8080", method: str = "GET") -> tuple[int, bytes]:
    answer = exchange(server, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_the_pages_are_served_on_loopback_only(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert get(server, "/critical")[0] == 503, "the evidence of this test is old"
    assert get(server, "/metrics?x=1") == (200, page(full()))
    health: dict[str, Any] = json.loads(get(server, "/health")[1])
    assert {item["name"] for item in health["items"]} >= {"postgres", "supervisord", "venue north", "clock"}
    assert get(server, "/metrics", method="HEAD") == (200, b"")
    assert get(server, "/../etc/passwd")[0] == 404
    assert get(server, "/health", method="POST")[0] == 501
    assert get(server, "/health", host="attacker.example")[0] == 421
    assert {get(server, "/metrics", host=host)[0] for host in ("localhost", "localhost:1", "[::1]:8080", "[::1]")} == {
        200
    }


def test_a_request_that_is_too_large_gets_no_answer(server: Server) -> None:
    try:
        answer = exchange(server, b"GET /health HTTP/1.1\r\nX: " + b"a" * (2 * REQUEST_BYTES) + b"\r\n\r\n")
    except ConnectionResetError:
        answer = b""
    assert answer == b""
    assert get(server, "/metrics")[0] == 200


def test_slow_clients_delay_others_no_longer_than_their_time(server: Server) -> None:
    slow = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(MOST_AT_ONCE)]
    for client in slow:
        client.sendall(b"GET /health")
    deadline = time.monotonic() + REQUEST_S + 5
    while True:
        try:
            if get(server, "/metrics")[0] == 200:
                break
        except (IndexError, OSError):  # closed without an answer: all places are taken
            pass
        assert time.monotonic() < deadline
    for client in slow:
        client.close()


def test_a_port_in_use_is_named(server: Server) -> None:
    with pytest.raises(ConfigError, match=r"port \d+ of the watchdog cannot be used .*watchdog.port"):
        Server(server.server_port, server.pages)
