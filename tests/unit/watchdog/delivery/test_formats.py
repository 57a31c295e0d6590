"""What each service gets: its own form, within its limits, with foreign words that it does not obey."""

import json
from typing import Any

import pytest
from support.machine.message_sinks import AT, alert, over

from recorder.watchdog.delivery.channels.formats import DISCORD_MAX, SLACK_MAX, TELEGRAM_MAX, body, recognised
from recorder.watchdog.delivery.channels.mail import written
from recorder.watchdog.delivery.message import Message, plain
from recorder.watchdog.first_steps import FIRST_STEPS, first_step, parted
from recorder.watchdog.rules import BY_ID

HOSTILE = "@everyone <!channel> <@U123> & <b>bold</b> [a](http://x) `code` \x1b[31m\u202e\nSubject: spam\r\nBcc: a@b"
ADDRESS = "https://api.telegram.org/bot123:secret/sendMessage?chat_id=-100"


def hostile(kind: Any = "firing", length: int = 1) -> Message:
    return Message(3, kind, alert(subject=HOSTILE, summary=HOSTILE * length), AT)


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("https://hooks.slack.com/services/T/B/x", "slack"),
        ("https://hooks.slack-gov.com/services/T/B/x", "slack"),
        ("https://discord.com/api/webhooks/1/x", "discord"),
        ("https://ptb.discord.com/api/webhooks/1/x", "discord"),
        ("https://discordapp.com/api/webhooks/1/x", "discord"),
        ("https://discord.com/api/webhooks/1/x/slack", "slack"),
        (ADDRESS, "telegram"),
        ("https://alerts.example.org/hook", "json"),
        ("https://hooks.slack.com.example.org/x", "json"),
        ("https://evildiscord.com/x", "json"),
        ("http://[", "json"),
    ],
)
def test_a_service_is_recognised_by_its_address(url: str, form: str) -> None:
    assert recognised(url) == form


def test_slack_gets_no_mention_and_no_link() -> None:
    text = body("slack", hostile(), "host", "", repeated=False)["text"]
    assert "<" not in text.replace("&lt;", "")
    assert "@everyone &lt;!channel&gt; &lt;@U123&gt; &amp;" in text


def test_discord_gets_no_mention_and_no_markdown() -> None:
    sent = body("discord", hostile(), "host", "", repeated=False)
    assert sent["allowed_mentions"] == {"parse": []}
    assert r"\@everyone \<!channel\> \<\@U123\>" in sent["content"]


def test_telegram_gets_escaped_html_and_the_chat_of_the_address() -> None:
    sent = body("telegram", hostile(), "host", ADDRESS, repeated=False)
    assert sent["chat_id"] == "-100"
    assert "&lt;b&gt;bold&lt;/b&gt;" in sent["text"]
    assert sent["text"].count("<") == 2  # of our own <b>
    assert "secret" not in json.dumps(sent)


@pytest.mark.parametrize(
    ("form", "key", "limit"),
    [("slack", "text", SLACK_MAX), ("discord", "content", DISCORD_MAX), ("telegram", "text", TELEGRAM_MAX)],
)
@pytest.mark.parametrize("words", ["&" * 1000, "*" * 1000, "\U0001f4c9" * 1000, "\x00" * 1000])
def test_no_text_is_longer_than_its_service_takes(form: Any, key: str, limit: int, words: str) -> None:
    message = Message(1, "firing", alert(subject=words, summary=words), AT, left_out=3, lost=2)
    text = body(form, message, "host", ADDRESS, repeated=True)[key]
    assert 0 < len(text.encode("utf-16-le")) // 2 <= limit


def test_a_text_has_no_control_characters_but_newlines() -> None:
    text = plain(hostile(), "host")
    assert text.replace("\n", "").isprintable()
    assert len(text.splitlines()) == 5


def test_a_text_that_fires_says_what_to_do_first_and_one_that_is_over_does_not() -> None:
    assert "first: tapedeck test kraken: if data comes" in plain(Message(1, "firing", alert(), AT), "host")
    assert "first:" not in plain(Message(2, "resolved", over(alert(), AT + 90), AT + 90), "host")
    assert set(FIRST_STEPS) == set(BY_ID), "every rule has a first step"
    assert first_step("program_stuck", "recorder-okx-01").startswith("tapedeck restart recorder-okx-01;")


def test_a_webhook_of_ones_own_gets_all_fields() -> None:
    first = alert(2**62)
    message = Message(2, "resolved", over(first, AT + 90), AT + 90)
    assert body("json", message, "host", "", repeated=True) == {
        "version": 1,
        "id": f"{2**62}-2-2",
        "kind": "resolved",
        "repeated": True,
        "source": "host",
        "alert_id": str(2**62),
        "revision": 2,
        "rule": "venue_no_data",
        "subject": "kraken",
        "severity": "page",
        "state": "resolved",
        "summary": "kraken: no data for 600 s",
        "value": 600.0,
        "action": "",
        "text": plain(message, "host", repeated=True),
        "times": 0,
        "left_out": 0,
        "lost": 0,
        "started_at": "2023-11-14T22:13:15Z",
        "fired_at": "2023-11-14T22:13:20Z",
        "resolved_at": "2023-11-14T22:14:50Z",
        "at": "2023-11-14T22:14:50Z",
    }


def test_no_word_of_others_becomes_a_header_of_an_e_mail() -> None:
    mail = written(hostile(), "host", "me@example.org", ["you@example.org"], int(AT * 1e9), repeated=False)
    head, _, text = mail.as_bytes().partition(b"\r\n\r\n")
    assert mail["Auto-Submitted"] == "auto-generated"
    names = [line.split(b":")[0] for line in head.split(b"\r\n") if not line.startswith(b" ")]
    assert b"Bcc" not in names
    assert [name for name, _ in mail.items() if name.lower() in ("bcc", "subject")] == ["Subject"]
    assert "\n" not in mail["Subject"]
    assert "\r" not in mail["Subject"]
    assert text.isascii()
    assert all(len(line) <= 998 for line in mail.as_bytes().split(b"\r\n"))


def test_the_command_of_a_first_step_can_be_copied_and_run() -> None:
    assert parted(first_step("program_restarting", "deriver")) == (
        "tapedeck logs deriver",
        ": the traceback before each start",
    )
    assert parted(first_step("book_resync_loop", "recorder-okx"))[0] == "tapedeck logs recorder-okx"
    assert parted(first_step("gap_long", ""))[0] == "SELECT * FROM gap_open ORDER BY started_at LIMIT 20"
    assert parted(first_step("streams_silent", ""))[0] == ""
    for step in FIRST_STEPS.values():
        command, words = parted(step)
        assert command + words == step
        assert len(command.split()) <= 5 or command.startswith("SELECT "), command
