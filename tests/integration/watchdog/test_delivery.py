"""Messages of a real watchdog: killed between queue and send, and while a message is sent; pings; commands."""

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.alerts.lone_watchdog import LoneWatchdog
from support.machine.message_sinks import Reply, WebhookSink, wait_until, webhook_sink
from support.machine.ports import free_port, free_port_base

from recorder.cli import main
from recorder.watchdog.delivery.state_file import path_of, read_state

RULE = "supervisord_gone"
COOLDOWN_S = 10.0

SETTINGS = """
port_base = {base}
[watchdog]
every_s = 0.2
clear_s = 0
[watchdog.rules.supervisord_gone]
for_s = 0
enabled = {enabled}
[alerts]
cooldown_s = {cooldown_s}
ping_every_s = 1
"""


class Appliance(LoneWatchdog):
    """A home in which only the watchdog runs, with one rule that always holds."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._base = free_port_base()
        self.configure()

    def configure(self, *, enabled: bool = True, cooldown_s: float = COOLDOWN_S) -> None:
        """Write the settings, with or without the one rule."""
        self.write(SETTINGS.format(base=self._base, enabled=str(enabled).lower(), cooldown_s=cooldown_s))


class Done(NamedTuple):
    """What a command printed."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Runs `tapedeck alerts`."""

    def command(*words: str, **more: str) -> Done:
        for name, value in appliance.environment(more).items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        status = main(["alerts", *words])
        return Done(status, *capsys.readouterr())

    return command


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    with contextlib.closing(Appliance(tmp_path)) as made:
        yield made


def messages(sink: WebhookSink) -> list[dict[str, Any]]:
    return [body for body in sink.bodies() if body["rule"] == RULE]


def queued(home: Path) -> list[str]:
    """Return the ids of the messages about the rule that wait on disk."""
    if not path_of(home).exists():
        return []
    return [one.message.id for one in read_state(home).entries if one.message.alert.rule == RULE]


def failures(home: Path) -> list[str]:
    """Return why channels fail."""
    return [state.reason for state in read_state(home).channels.values() if state.reason]


def test_a_watchdog_killed_between_queue_and_send_loses_nothing_and_sends_nothing_twice(appliance: Appliance) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/hook/secret"
    appliance.configure(cooldown_s=3600)
    appliance.start(ALERT_WEBHOOK_URL=url)
    wait_until(lambda: bool(failures(appliance.home)))
    appliance.end(signal.SIGKILL)
    waiting = queued(appliance.home)
    with webhook_sink(port=port) as sink:
        appliance.start(ALERT_WEBHOOK_URL=url)
        wait_until(lambda: not queued(appliance.home))
        assert [one["id"] for one in messages(sink)] == waiting
        appliance.end(signal.SIGKILL)
        appliance.configure(enabled=False, cooldown_s=3600)  # so that the alert is over
        appliance.start(ALERT_WEBHOOK_URL=url)
        wait_until(lambda: len(messages(sink)) > 1)
        assert [one["kind"] for one in messages(sink)] == ["firing", "resolved"]
        assert appliance.end(signal.SIGTERM) == 0


def test_a_message_whose_outcome_a_kill_hid_is_repeated_after_the_cooldown_with_its_id(appliance: Appliance) -> None:
    with webhook_sink() as sink:
        sink.replies = [Reply(wait_s=60)] * 3
        appliance.start(ALERT_WEBHOOK_URL=sink.url)
        sink.wait(1)
        appliance.end(signal.SIGKILL)
        sink.replies = []
        began_s = time.monotonic()
        appliance.start(ALERT_WEBHOOK_URL=sink.url)
        wait_until(lambda: len(messages(sink)) > 1)
        assert time.monotonic() - began_s >= COOLDOWN_S
        first, second = messages(sink)
        assert first["id"] == second["id"]
        assert (first["repeated"], second["repeated"]) == (False, True)


def test_no_secret_is_in_a_log_or_a_file_of_the_home(appliance: Appliance, capfd: pytest.CaptureFixture[str]) -> None:
    url = f"http://me:hunter2@127.0.0.1:{free_port()}/hook/hunter3"
    appliance.start(ALERT_WEBHOOK_URL=url, ALERT_PING_URL=f"http://127.0.0.1:{free_port()}/hunter4")
    wait_until(lambda: bool(failures(appliance.home)))
    appliance.end(signal.SIGTERM)
    found = "".join(capfd.readouterr()) + "".join(
        path.read_text("latin-1") for path in appliance.home.rglob("*") if path.is_file()
    )
    assert "message.not_sent" in found
    assert "hunter" not in found


def test_the_dead_mans_switch_is_pinged_in_the_convention_of_healthchecks(
    appliance: Appliance, run: Callable[..., Done]
) -> None:
    with webhook_sink() as sink:
        appliance.start(ALERT_PING_URL=f"http://127.0.0.1:{sink.port}/uuid?rid=1")
        sink.wait(2)
        assert [path for path, _, _ in sink.requests[:2]] == ["/uuid/start?rid=1", "/uuid/fail?rid=1"]
        assert RULE.encode() in sink.requests[1][2]
        assert run("ack", RULE).returncode == 0
        wait_until(lambda: sink.requests[-1][0] == "/uuid?rid=1")
        assert appliance.end(signal.SIGTERM) == 0
        assert sink.requests[-1][0] == "/uuid/0?rid=1"


def test_nothing_is_sent_while_monitoring_is_off(appliance: Appliance, run: Callable[..., Done]) -> None:
    with webhook_sink() as sink:
        report = appliance.home / "health" / "watchdog.json"
        appliance.start(ALERT_WEBHOOK_URL=sink.url, ALERT_PING_URL=sink.url, MONITORING_ENABLED="false")
        wait_until(lambda: report.exists() and json.loads(report.read_bytes())["figures"]["rounds"] > 10)
        assert f"page {RULE}" in run("list").stdout  # it fires all the same
        assert sink.requests == []


def test_the_commands_work_without_postgres_and_without_the_watchdog(
    appliance: Appliance, run: Callable[..., Done]
) -> None:
    appliance.start(ALERT_WEBHOOK_URL=f"http://127.0.0.1:{free_port()}/hook")
    wait_until(lambda: bool(failures(appliance.home)))
    appliance.end(signal.SIGKILL)
    listed = run()
    assert f"page {RULE}" in listed.stdout
    assert "1 messages wait for webhook: ConnectionRefusedError" in listed.stdout
    assert run("ack", RULE, "--note", "seen").returncode == 0
    assert run("silence", RULE, "--for", "2h").returncode == 0
    (alert,) = json.loads(run("list", "--json").stdout)["alerts"]
    after = json.loads(run("list", "--json").stdout)
    assert after["acknowledged"] == [alert["alert_id"]]
    assert [one["rule"] for one in after["silences"]] == [RULE]
    said = " ".join(run().stdout.split())
    assert ", acknowledged at " in said
    assert " (seen), silent until " in said
    assert run("silence", RULE, "--end").returncode == 0
    assert json.loads(run("list", "--json").stdout)["silences"] == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("silence", "venue_no_dat", "--for", "2h"), "there is no rule 'venue_no_dat'; did you mean venue_no_data?"),
        (("silence", RULE), "say either how long, such as --for 2h, or --end"),
        (("silence", RULE, "--for", "31d"), "'31d' is no length of a silence; write 90s, 30m, 2h or 3d, at most 30d"),
        (("silence", RULE, "--for", "soon"), "'soon' is no length of a silence; write 90s, 30m, 2h or 3d, at most 30d"),
        (("ack", "lineage"), "no alert of 'lineage' fires; `tapedeck alerts` lists all"),
        (("test",), "no channel is set; set ALERT_WEBHOOK_URL, or ALERT_EMAIL_TO and SMTP_HOST"),
    ],
)
def test_a_command_that_cannot_work_says_why(run: Callable[..., Done], words: tuple[str, ...], complaint: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stderr) == (2, f"tapedeck: {complaint}\n")


def test_the_test_reports_the_answer_of_every_channel_and_fails_if_one_fails(
    appliance: Appliance, run: Callable[..., Done]
) -> None:
    with webhook_sink() as sink:
        done = run("test", ALERT_WEBHOOK_URL=sink.url)
        assert (done.returncode, done.stdout) == (0, "webhook at 127.0.0.1, format json: sent (HTTP 200)\n")
        assert sink.bodies()[0]["kind"] == "test"
        mail = {"ALERT_EMAIL_TO": "ops@example.org", "SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(free_port())}
        done = run("test", ALERT_WEBHOOK_URL=sink.url, **mail)
        assert done.returncode == 1
        assert "e-mail to ops@example.org through 127.0.0.1" in done.stdout
        assert "failed (ConnectionRefusedError)" in done.stdout
