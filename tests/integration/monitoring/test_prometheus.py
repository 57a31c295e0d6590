"""A real Prometheus watches a real appliance: every query has an answer, and an alert reaches its receiver."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.database_server import ROOT
from support.machine.message_sinks import WebhookSink, webhook_sink
from support.machine.ports import free_port_base
from support.machine.prometheus import Monitoring, monitoring, panel_queries, require_prometheus

from recorder.appliance import supervisor
from recorder.appliance.processes import wait_until
from recorder.cli import main
from recorder.settings import Settings

VENUES = {"coinbase", "kraken"}
STOPPED = "recorder-kraken"
ONCE_A_MINUTE = {
    "Partitions ahead": "the watchdog asks for it once a minute, and at its first question there is no partition",
    "Rows by table": "the watchdog asks for it once a minute, and only the second sum shows that it rises",
}
"""The panels without a figure in the first minute or two, with the reason; the long form waits for them."""
_LABELS = re.compile(r"\{[^}]*\}|on \(.*?\)")
_METRIC = re.compile(r"[a-z_:]*\b(?:tapedeck|prometheus|alertmanager)[a-z_0-9:]*\b|\bup\b")


@pytest.fixture
def sink() -> Iterator[WebhookSink]:
    with webhook_sink() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, sink: WebhookSink, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Run the demo with two venues; its watchdog sends messages, too."""
    require_prometheus()
    home = tmp_path / "home"
    for name in ("DATABASE_URL", "TAPEDECK_CONFIG", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    changes = {"TAPEDECK_HOME": str(home), "TAPEDECK__PORT_BASE": str(free_port_base()), "ALERT_WEBHOOK_URL": sink.url}
    changes["TAPEDECK__WATCHDOG__EVERY_S"] = "0.5"
    changes["TAPEDECK__WATCHDOG__RULES"] = json.dumps({"program_down": {"for_s": 1}})
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    for venue in Settings.load().venues.keys() - VENUES:
        monkeypatch.setenv(f"TAPEDECK__VENUES__{venue.upper()}__ENABLED", "false")
    try:
        assert main(["up"]) == 0
        yield Settings.load()
    finally:
        assert supervisor.stop(home, 60.0, lambda left: None) == []


def received(sink: WebhookSink, receiver: str) -> list[dict[str, Any]]:
    """Return the alerts that a receiver of Alertmanager got."""
    found = [body for (path, _, _), body in zip(sink.requests, sink.bodies(), strict=True) if path.endswith(receiver)]
    return [alert for body in found for alert in body["alerts"]]


def pages_of(sink: WebhookSink, rule: str) -> list[dict[str, Any]]:
    """Return the pages about a rule of the watchdog; a busy machine may have others."""
    return [alert for alert in received(sink, "/pages") if alert["labels"].get("rule") == rule]


def all_is_recorded(running: Monitoring, venue: str) -> bool:
    """Return whether the stream-seconds of a venue rise as they do while all of its streams are recorded."""
    streams = running.query(f'tapedeck_recorder_streams{{venue="{venue}"}}')
    rates = [
        running.query(f'rate(tapedeck_venue_{kind}_stream_seconds_total{{venue="{venue}"}}[20s])')
        for kind in ("wanted", "recorded")
    ]
    values = [one.value for found in (streams, *rates) for one in found]
    return len(values) == 3 and values[1] == values[2] == pytest.approx(values[0], rel=0.25)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "all_of_them", [pytest.param(False, id="short"), pytest.param(True, id="long", marks=pytest.mark.long)]
)
def test_every_query_has_an_answer_and_an_alert_reaches_its_receiver(
    all_of_them: bool, settings: Settings, sink: WebhookSink, tmp_path: Path
) -> None:
    with monitoring(tmp_path / "monitoring", settings.watchdog.port, f"http://127.0.0.1:{sink.port}") as running:
        assert wait_until(lambda: bool(running.query("tapedeck_watchdog_rounds_total > 20")), 60.0), running.logs()
        assert wait_until(lambda: len(running.query("up == 1")) == 3, 60.0), running.logs()
        assert wait_until(lambda: bool(received(sink, "/dead-man")), 30.0), running.logs()

        # Nothing is lost while all runs: stream-seconds pass as fast as there are streams.
        for venue in VENUES:
            assert wait_until(partial(all_is_recorded, running, venue), 60.0), running.logs()

        # A recorder that is stopped loses its venue's streams, and its alert travels on.
        control = [str(Path(sys.executable).parent / "supervisorctl"), "-c", str(settings.home / "supervisord.conf")]
        subprocess.run([*control, "stop", STOPPED], check=True, capture_output=True)
        assert wait_until(lambda: bool(pages_of(sink, "program_down")), 60.0), running.logs()
        alert = pages_of(sink, "program_down")[0]
        assert (alert["status"], alert["labels"]["alertname"]) == ("firing", "TapedeckAlert")
        shown = {name: alert["labels"].get(name) for name in ("rule", "severity", "subject", "venue", "docs")}
        assert shown == {
            "rule": "program_down", "severity": "page", "subject": STOPPED, "venue": "kraken", "docs": None,
        }  # fmt: skip
        assert alert["annotations"]["runbook_url"] == "file:///opt/tapedeck/docs/runbook.md#program_down"
        pages = next(headers for path, headers, _ in sink.requests if path.endswith("/pages"))
        assert pages["Authorization"] == "Bearer token-of-the-pager"
        lost = 'venue:tapedeck_stream_loss:ratio_rate5m{venue="kraken"}'
        assert wait_until(lambda: bool(running.query(f"{lost} > 0.05")), 30.0), running.query(lost)

        check_dashboards(running, all_of_them=all_of_them)
        check_rules(running)


def check_dashboards(running: Monitoring, *, all_of_them: bool) -> None:
    """Ask every query of every dashboard: it has an answer, and its figures make sense.

    Args:
        running: The Prometheus.
        all_of_them: Whether to wait for those that need an answer of the second minute.
    """
    expected = [query for query in panel_queries() if all_of_them or query.panel not in ONCE_A_MINUTE]
    if not wait_until(lambda: all(running.query(query.expr) for query in expected), 180.0, pause_s=1.0):
        pytest.fail(f"no answer: {[query for query in expected if not running.query(query.expr)]}")
    for query in panel_queries():
        found = running.query(query.expr)
        print(f"{query.dashboard} | {query.panel} | {query.unit} | {[one.value for one in found][:6]}")
        assert all(math.isfinite(one.value) and one.value >= 0 for one in found), (query, found)
        if query.unit == "percentunit" and "Budget" not in query.panel:
            assert all(one.value <= 1 for one in found), (query, found)


def check_rules(running: Monitoring) -> None:
    """Ask every rule: it is evaluated, what it records has values, and an alert watches metrics that exist."""
    for rule in running.rules():
        assert rule["health"] == "ok", rule
        if rule["type"] == "recording":
            assert running.query(rule["name"]), rule["name"]
        else:
            for name in _METRIC.findall(_LABELS.sub("", rule["query"])):
                assert running.query(name), (rule["name"], name)
