"""The file of the queue when it is damaged, what /health says of marks, and when the dead man's switch is pinged."""

import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from support.machine.message_sinks import AT, NO_MARKS, alert, drained, outbox, wait_until
from support.watchdog import NOW, NOW_S, evidence

from recorder.process.health import WatchdogFigures
from recorder.process.reporting import Health
from recorder.settings import AlertSettings, Settings, WatchdogSettings
from recorder.watchdog import verdicts
from recorder.watchdog.alerts import Held
from recorder.watchdog.delivery.dead_man import address
from recorder.watchdog.delivery.marks import Ack, Marks, Silence
from recorder.watchdog.delivery.message import Message
from recorder.watchdog.delivery.messages import Messages, troubles
from recorder.watchdog.delivery.outbox import Answer, ChannelState, State
from recorder.watchdog.delivery.sender import Sender
from recorder.watchdog.delivery.state_file import path_of, read_state, write_state

HELD = [
    Held("venue_no_data", "north", "quiet", 601.0, NOW, alert_id=5, fired_at=NOW),
    Held("lineage", "", "a break", 1.0, NOW, alert_id=6, fired_at=NOW),
    Held("venue_no_data", "south", "quiet", 601.0, NOW),
]
SEEN = Marks((Ack(5, NOW),), (Silence("lineage", None, NOW - 1, NOW + 60),))


@pytest.mark.parametrize("content", [b"", b"{", b'{"entries": [7]}', b"\xff\xfe"])
def test_a_damaged_queue_is_set_aside_and_what_fires_is_sent_again(tmp_path: Path, content: bytes) -> None:
    write_state(tmp_path, State(known={}))
    path_of(tmp_path).write_bytes(content)
    assert read_state(tmp_path) == State()
    assert path_of(tmp_path).exists(), "a command that only looks changes nothing"
    state = read_state(tmp_path, set_aside=True)
    assert path_of(tmp_path).with_name("outbox.json.damaged").read_bytes() == content
    queue = outbox(state)
    queue.tick([alert()], NO_MARKS, AT, 0)
    assert [message.kind for message in drained(queue)] == ["firing"]


def test_without_a_channel_nothing_counts_as_sent() -> None:
    queue = outbox()
    queue.tick([alert()], NO_MARKS, AT, 0)
    drained(queue)
    off = outbox(queue.state, channels=())
    assert not off.tick([alert()], NO_MARKS, AT, 1)
    on = outbox(off.state)
    on.tick([alert()], NO_MARKS, AT, 1)
    assert [message.kind for message in drained(on)] == ["firing"]


def test_health_shows_what_is_acknowledged_and_silent() -> None:
    page = verdicts.health(evidence(), HELD, WatchdogSettings(), NOW_S, SEEN)
    assert [(one.rule, one.acknowledged, one.silenced_until) for one in page.alerts] == [
        ("venue_no_data", True, None), ("lineage", False, NOW + 60), ("venue_no_data", False, None),
    ]  # fmt: skip


def test_not_all_is_well_while_a_page_fires_that_no_person_has_seen_or_rounds_stop() -> None:
    assert troubles(HELD, 1.0, 60.0, NO_MARKS, NOW) == ["venue_no_data north: quiet"]
    assert troubles(HELD, 1.0, 60.0, SEEN, NOW) == []
    assert troubles([], 61.0, 60.0, NO_MARKS, NOW) == ["the last round of the watchdog ended 61 s ago"]


@pytest.mark.parametrize(
    ("url", "ending", "expected"),
    [
        ("https://hc-ping.com/uuid", "", "https://hc-ping.com/uuid"),
        ("https://hc-ping.com/uuid/", "/fail", "https://hc-ping.com/uuid/fail"),
        ("https://hc-ping.com/key/slug?create=1", "/0", "https://hc-ping.com/key/slug/0?create=1"),
    ],
)
def test_an_ending_stands_before_the_question_mark(url: str, ending: str, expected: str) -> None:
    assert address(url, ending) == expected


def test_a_channel_that_has_taken_nothing_for_5_minutes_is_a_problem_of_the_watchdog(tmp_path: Path) -> None:
    settings = Settings.load(
        environ={
            "TAPEDECK_CONFIG": "demo",
            "TAPEDECK_HOME": str(tmp_path),
            "ALERT_WEBHOOK_URL": "http://127.0.0.1:1/hook",
            "TAPEDECK__PORT_BASE": "30000",
        }
    )
    state = State(known={}, channels={"webhook": ChannelState(pause_s=600, failing_s=301, reason="HTTP 500")})
    write_state(tmp_path, state)
    messages = Messages(settings, lambda: [alert()], lambda: None)
    live = Health("live", "", WatchdogFigures(rounds=3))
    assert messages.health(live) == live
    stop = threading.Event()
    thread = threading.Thread(target=messages.parts()["messages"], args=(stop,))
    thread.start()
    try:
        wait_until(lambda: messages.health(live).state == "degraded")
    finally:
        stop.set()
        thread.join()
    found = messages.health(live)
    assert found.detail.startswith("messages by webhook have failed for 30")
    assert found.detail.endswith("(HTTP 500)")
    assert found.figures == WatchdogFigures(rounds=3, messages_waiting=1)


class Odd:
    """A channel that cannot write the first message, and fails at the second."""

    name = "webhook"
    describes = "odd"

    def __init__(self) -> None:
        self.got: list[Message] = []

    def send(self, message: Message, stop: threading.Event, *, repeated: bool = False) -> Answer:
        self.got.append(message)
        if message.alert.rule == "venue_no_data":
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        return Answer("later", f"HTTP 500 {stop.is_set()} {repeated}")


def test_a_message_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    channel, stop = Odd(), threading.Event()
    alerts: Sequence[object] = [alert(1), alert(2, "lineage", "", "ticket")]
    sender = Sender(tmp_path, AlertSettings.model_validate({}), lambda: alerts, [channel])  # type: ignore[arg-type,return-value]
    thread = threading.Thread(target=sender.part, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: len(channel.got) >= 2)
        wait_until(lambda: sender.traffic["webhook"].failed >= 2)
    finally:
        stop.set()
        thread.join()
    assert sender.traffic["webhook"].waiting == 2
    state = msgspec.json.decode(path_of(tmp_path).read_bytes(), type=State)
    assert state.channels["webhook"].reason == "HTTP 500 False False"
    assert len(state.entries) == 2


class Good(Odd):
    """A channel that takes everything."""

    def send(self, message: Message, stop: threading.Event, *, repeated: bool = False) -> Answer:
        self.got.append(message)
        return Answer("taken", f"{stop.is_set()} {repeated}")


def test_a_disk_that_takes_nothing_silences_no_alert(tmp_path: Path) -> None:
    home, channel, stop = tmp_path / "file", Good(), threading.Event()
    home.write_bytes(b"")  # where a folder should be
    alerts = [alert(1, "disk_full", "")]
    sender = Sender(home, AlertSettings.model_validate({}), lambda: alerts, [channel])
    thread = threading.Thread(target=sender.part, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: bool(channel.got))
    finally:
        stop.set()
        thread.join()
    assert [message.kind for message in channel.got] == ["firing"]
