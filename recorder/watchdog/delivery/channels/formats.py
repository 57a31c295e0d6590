"""The bodies that webhooks take, by service. Pure.

Names of markets and words of venues are in every text, so each format escapes what its service would obey, and
switches mentions off.
"""

import html
import re
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from recorder.watchdog.delivery.message import Message, details, iso, plain, title

Format = Literal["json", "slack", "discord", "telegram"]

SLACK_MAX = 3_000  # characters; the text of a section, below the 40,000 of a message (docs.slack.dev)
DISCORD_MAX = 2_000  # characters of `content` (docs.discord.com, resources/webhook)
TELEGRAM_MAX = 4_096  # characters of `text`, after entities are parsed (core.telegram.org/bots/api#sendmessage)

_SLACK_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
_DISCORD_HOSTS = ("discord.com", "discordapp.com")
_TELEGRAM_HOST = "api.telegram.org"
_MARKDOWN = re.compile(r"([\\*_~`|>#\[\]()<@:])")
_SUPPRESS_EMBEDS = 4  # flag of a Discord message: no preview of addresses


def recognised(url: str) -> Format:
    """Return the format that the service at an address takes; json for an unknown one."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        return "json"
    if host in _SLACK_HOSTS:
        return "slack"
    if any(host == known or host.endswith(f".{known}") for known in _DISCORD_HOSTS):
        return "slack" if parts.path.rstrip("/").endswith("/slack") else "discord"
    return "telegram" if host == _TELEGRAM_HOST else "json"


def body(form: Format, message: Message, source: str, url: str, *, repeated: bool) -> dict[str, Any]:
    """Return the body of a message.

    Args:
        form: What the service takes.
        message: The message.
        source: The name of this appliance.
        url: Address of the webhook; that of Telegram has the id of the chat.
        repeated: Whether an earlier attempt may have reached the receiver.
    """
    match form:
        case "slack":
            return _slack(message, source, repeated=repeated)
        case "discord":
            return _discord(message, source, repeated=repeated)
        case "telegram":
            return _telegram(message, source, url, repeated=repeated)
    return custom(message, source, repeated=repeated)


def custom(message: Message, source: str, *, repeated: bool) -> dict[str, Any]:
    """Return the JSON of a webhook of one's own; docs/operate.md describes each field."""
    alert = message.alert
    return {
        "version": 1,
        "id": message.id,
        "kind": message.kind,
        "repeated": repeated,
        "source": source,
        "alert_id": str(alert.alert_id),  # beyond the whole numbers that JavaScript keeps
        "revision": alert.revision,
        "rule": alert.rule,
        "subject": alert.subject,
        "severity": alert.severity,
        "state": alert.state,
        "summary": alert.summary,
        "value": alert.value,
        "action": alert.action,
        "text": plain(message, source, repeated=repeated),
        "times": message.times,
        "left_out": message.left_out,
        "lost": message.lost,
        "started_at": iso(alert.started_at),
        "fired_at": iso(alert.fired_at),
        "resolved_at": iso(alert.resolved_at),
        "at": iso(message.at),
    }


def _slack(message: Message, source: str, *, repeated: bool) -> dict[str, Any]:
    """Return the body for Slack, where & < > begin entities, links and mentions (docs.slack.dev, formatting)."""

    def escaped(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    text = _cut([escaped(line) for line in _lines(message, source, repeated=repeated)], SLACK_MAX)
    return {"text": text, "mrkdwn": False, "parse": "none", "unfurl_links": False, "unfurl_media": False}


def _discord(message: Message, source: str, *, repeated: bool) -> dict[str, Any]:
    """Return the body for Discord: Markdown is escaped, and no mention notifies (allowed_mentions)."""
    lines = [_MARKDOWN.sub(r"\\\1", line) for line in _lines(message, source, repeated=repeated)]
    return {"content": _cut(lines, DISCORD_MAX), "allowed_mentions": {"parse": []}, "flags": _SUPPRESS_EMBEDS}


def _telegram(message: Message, source: str, url: str, *, repeated: bool) -> dict[str, Any]:
    """Return the body for sendMessage: HTML is escaped; the chat is the `chat_id` of the address."""
    first, *rest = [html.escape(line, quote=False) for line in _lines(message, source, repeated=repeated)]
    chats = parse_qs(urlsplit(url).query).get("chat_id", [""])
    return {
        "chat_id": chats[0],
        "text": _cut([f"<b>{first}</b>", *rest], TELEGRAM_MAX),
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": True},
    }


def _lines(message: Message, source: str, *, repeated: bool) -> list[str]:
    return [title(message), *details(message, source, repeated=repeated)]


def _cut(lines: list[str], limit: int) -> str:
    """Join the lines that fit: a line is never cut, since an escape must not be."""
    kept: list[str] = []
    size = 0
    for line in lines:
        size += len(line.encode("utf-16-le")) // 2 + 1  # services count UTF-16 units
        if kept and size > limit:
            break
        kept.append(line)
    return "\n".join(kept)
