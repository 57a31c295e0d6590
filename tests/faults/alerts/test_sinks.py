"""Sinks that fail, and alerts that flap, with a real watchdog: nothing is lost, nothing comes twice in a cooldown."""

import contextlib
import itertools
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.alerts.lone_watchdog import LoneWatchdog
from support.alerts.set_clock import SetClock
from support.machine.certificates import own_authority
from support.machine.message_sinks import Reply, WebhookSink, wait_until, webhook_sink
from support.machine.ports import free_port, free_port_base

RULE = "clock_offset"
SETTINGS = """
port_base = {base}
[watchdog]
every_s = 0.2
clear_s = 0
[watchdog.rules.supervisord_gone]
enabled = false
[watchdog.rules.clock_offset]
for_s = 0
[alerts]
cooldown_s = {cooldown_s}
timeout_s = 1
"""


class Switched:
    """A watchdog with an alert that a test switches on and off."""

    def __init__(self, folder: Path, cooldown_s: float) -> None:
        self._clock = SetClock(folder)
        self._watchdog = LoneWatchdog(folder)
        self._watchdog.write(SETTINGS.format(base=free_port_base(), cooldown_s=cooldown_s))
        self._environment = dict(self._clock.environment)

    def start(self, **more: str) -> None:
        """Start the watchdog, and return after its first round."""
        self._environment |= more
        self._watchdog.start(**self._environment)
        wait_until((self._watchdog.home / "watchdog" / "round.json").exists)

    def kill(self) -> None:
        """Kill the watchdog and start it again."""
        self._watchdog.end(signal.SIGKILL)
        self.start()

    def switch(self, on: bool) -> None:
        """Let the alert fire, or end."""
        self._clock.offset(1.5 if on else 0.0)

    def close(self) -> None:
        self._watchdog.close()


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    return own_authority(tmp_path)


def about(sink: WebhookSink) -> list[tuple[float, dict[str, Any]]]:
    return [(at_s, body) for at_s, body in zip(sink.arrived_s, sink.bodies(), strict=False) if body["rule"] == RULE]


@contextlib.contextmanager
def failing(how: str, port: int, authority: tuple[Path, ssl.SSLContext], folder: Path) -> Iterator[WebhookSink | None]:
    """Yield a sink that takes nothing; None where there is none."""
    if how == "down":
        yield None
        return
    context = authority[1]
    if how == "wrong certificate":
        other = folder / "other"
        other.mkdir()
        context = own_authority(other)[1]
    with webhook_sink(context, port) as sink:
        sink.replies = {
            "500": [Reply(500)] * 100,
            "429": [Reply(429, {"Retry-After": "3"})] * 100,
            "slow": [Reply(wait_s=60)] * 100,
        }.get(how, [])
        yield sink


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["down", "500", "429", "slow", "wrong certificate"])
def test_a_sink_that_fails_gets_each_message_once_it_works(
    how: str, tmp_path: Path, authority: tuple[Path, ssl.SSLContext]
) -> None:
    port = free_port()
    with contextlib.closing(Switched(tmp_path, cooldown_s=10)) as switched:
        with failing(how, port, authority, tmp_path) as sink:
            url = f"https://127.0.0.1:{port}/hook"
            switched.start(ALERT_WEBHOOK_URL=url, TAPEDECK_CA_FILE=str(authority[0]))
            switched.switch(True)
            if sink is not None and how != "wrong certificate":
                wait_until(lambda: bool(sink.requests))
            threading.Event().wait(3.0)  # the fault lasts a while
            tried = [] if sink is None else about(sink)
            switched.kill()
        with webhook_sink(authority[1], port) as works:
            wait_until(lambda: len(about(works)) == 1, 90.0)
            switched.switch(False)
            wait_until(lambda: len(about(works)) == 2, 90.0)
            kinds = [body["kind"] for _, body in about(works)]
            assert kinds == ["firing", "resolved"]
            at_s, body = about(works)[0]
            assert {other["id"] for _, other in tried} <= {body["id"]}
            if how == "slow":  # it may have arrived
                assert body["repeated"]
                assert at_s - tried[-1][0] >= 10
            if how == "wrong certificate":
                assert tried == []


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_alert_that_flaps_each_30_s_is_summed_up_though_the_watchdog_is_killed(tmp_path: Path) -> None:
    cooldown_s, rounds = 60.0, 8
    with webhook_sink() as sink, contextlib.closing(Switched(tmp_path, cooldown_s)) as switched:
        switched.start(ALERT_WEBHOOK_URL=sink.url)
        pause = threading.Event()
        for number in range(rounds):
            switched.switch(True)
            pause.wait(15.0)
            if number % 3 == 1:
                switched.kill()
            switched.switch(False)
            pause.wait(15.0)
        began_s = time.monotonic()
        wait_until(lambda: bool(about(sink)) and about(sink)[-1][1]["state"] == "resolved", 120.0)
        pause.wait(max(0.0, cooldown_s + 5 - (time.monotonic() - began_s)))
        messages = about(sink)
    fires = [(at_s, body) for at_s, body in messages if body["kind"] in ("firing", "summary")]
    print([(round(at_s - messages[0][0]), body["kind"], body["times"], body["state"]) for at_s, body in messages])
    assert sum(max(1, body["times"]) for _, body in fires) == rounds, "every time is accounted for"
    assert all(later - before >= cooldown_s - 1 for (before, _), (later, _) in itertools.pairwise(fires))
    assert len({body["id"] for _, body in messages}) == len(messages)
    assert messages[-1][1]["state"] == "resolved"
