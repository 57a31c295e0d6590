"""A real watchdog whose disk fills and whose clock is set: the message arrives at a sink, and so does its end."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.alerts.lone_watchdog import LoneWatchdog
from support.alerts.set_clock import SetClock
from support.machine.message_sinks import WebhookSink, wait_until, webhook_sink
from support.machine.ports import free_port_base
from support.machine.small_disks import mounted

SETTINGS = """
port_base = {base}
[journal]
dir = "{journals}"
[watchdog]
every_s = 0.5
clear_s = 1
[watchdog.rules.supervisord_gone]
enabled = false
[watchdog.rules.disk_full]
for_s = 2
[watchdog.rules.disk_filling]
for_s = 2
[watchdog.rules.clock_offset]
for_s = 2
"""


@pytest.fixture
def sink() -> Iterator[WebhookSink]:
    with webhook_sink() as made:
        yield made


@pytest.fixture
def watchdog(tmp_path: Path) -> Iterator[LoneWatchdog]:
    with contextlib.closing(LoneWatchdog(tmp_path)) as made:
        made.write(SETTINGS.format(base=free_port_base(), journals=tmp_path / "journals"))
        yield made


def received(sink: WebhookSink) -> list[tuple[str, str]]:
    return [(body["rule"], body["kind"]) for body in sink.bodies()]


def first(sink: WebhookSink, rule: str, kind: str) -> dict[str, Any]:
    """Return the first message about a rule of that kind, once it is there."""
    wait_until(lambda: (rule, kind) in received(sink), 30.0)
    return next(body for body in sink.bodies() if (body["rule"], body["kind"]) == (rule, kind))


def test_a_disk_that_fills_is_a_ticket_then_a_page_and_each_ends_with_room(
    watchdog: LoneWatchdog, sink: WebhookSink, tmp_path: Path
) -> None:
    with mounted(["-t", "tmpfs", "-o", "size=64m", "tmpfs"], tmp_path / "journals") as disk:
        watchdog.start(ALERT_WEBHOOK_URL=sink.url)
        file = os.open(disk / "other.bin", os.O_CREAT | os.O_WRONLY)
        os.posix_fallocate(file, 0, 59 << 20)
        assert "the disk of journal is 92 % full" in first(sink, "disk_filling", "firing")["text"]
        os.posix_fallocate(file, 59 << 20, 4 << 20)
        page = first(sink, "disk_full", "firing")
        assert page["severity"] == "page"
        assert "first: tapedeck status, lines disk:" in page["text"]
        os.ftruncate(file, 0)
        os.close(file)
        first(sink, "disk_full", "resolved")
        first(sink, "disk_filling", "resolved")
        assert watchdog.end(signal.SIGTERM) == 0
    fired = [rule for rule, kind in received(sink) if kind != "resolved"]
    assert fired == ["disk_filling", "disk_full"]


def test_a_clock_that_is_set_or_that_is_off_is_noticed(
    watchdog: LoneWatchdog, sink: WebhookSink, tmp_path: Path
) -> None:
    clock = SetClock(tmp_path)
    watchdog.start(ALERT_WEBHOOK_URL=sink.url, **clock.environment)
    wait_until((watchdog.home / "watchdog" / "round.json").exists)
    clock.step(-3600)
    assert "this clock jumped by -3600.0 s" in first(sink, "clock_step", "firing")["text"]
    clock.offset(1.5)
    assert "this clock is +1.500 s from its reference" in first(sink, "clock_offset", "firing")["text"]
    clock.offset(0)
    first(sink, "clock_offset", "resolved")
    assert watchdog.end(signal.SIGTERM) == 0
    assert [rule for rule, kind in received(sink) if kind != "resolved"] == ["clock_step", "clock_offset"]
