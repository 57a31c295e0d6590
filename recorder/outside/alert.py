"""The alert of the check itself: a POST to ALERT_WEBHOOK_URL, at most once in a while."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path

POST_S = 10.0  # all waits of one alert together
_FILE = "check-health.alerted"  # its time is that of the last alert
_MOST_CHARACTERS = 1900  # Discord refuses more than 2,000


def age_s(home: Path) -> float | None:
    """Return the age of the last alert; None where there was none, or its time is not known."""
    try:
        passed_s = time.time() - os.stat(home / _FILE).st_mtime
    except OSError:
        return None
    return passed_s if passed_s >= 0 else None  # the clock was set back


def keep_time(home: Path) -> None:
    """Keep the time of this alert. A disk that does not take it must not stop alerts."""
    with contextlib.suppress(OSError):
        file = os.open(home / _FILE, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.utime(file)
        os.close(file)


def post(url: str, ca_file: str, sentence: str, lines: Sequence[str]) -> str:
    """Post an alert as JSON that Slack, Discord and others read. The address is a secret and is never printed.

    Returns:
        Why it failed; empty when it was accepted.
    """
    text = "\n".join([f"{socket.gethostname()}: {sentence}", *lines])[:_MOST_CHARACTERS]
    body = {"text": text, "content": text, "source": "tapedeck check-health", "host": socket.gethostname()}
    try:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            return "ALERT_WEBHOOK_URL is no http or https address"
        headers = {"Content-Type": "application/json", "User-Agent": "tapedeck-check-health"}
        request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
        context = ssl.create_default_context(cafile=ca_file or None)
        with urllib.request.urlopen(request, timeout=POST_S, context=context):
            return ""
    except urllib.error.HTTPError as error:
        return f"the server answered {error.code}"
    except urllib.error.URLError as error:
        return type(error.reason).__name__
    except (OSError, ValueError, http.client.HTTPException) as error:
        return type(error).__name__
