"""Messages by webhook."""

import threading
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from recorder.clock import Clock
from recorder.watchdog.delivery.channels import formats
from recorder.watchdog.delivery.channels.formats import Format
from recorder.watchdog.delivery.channels.post import Poster
from recorder.watchdog.delivery.message import Message
from recorder.watchdog.delivery.outbox import Answer

_JSON = "application/json; charset=utf-8"


class Webhook:
    """Posts messages to one address, in the format that its service takes."""

    name = "webhook"

    def __init__(
        self,
        url: str,
        form: Format | None,
        source: str,
        user_agent: str,
        ca_file: Path | None,
        timeout_s: float,
        clock: Clock,
    ) -> None:
        """
        Args:
            url: The address; a secret.
            form: What the service takes; None: what its address says.
            source: The name of this appliance.
            user_agent: The User-Agent header.
            ca_file: PEM file of the authorities to trust; None: those of the system.
            timeout_s: For all of a request.
            clock: Measures it.

        Raises:
            ConfigError: the file of authorities cannot be used.
        """
        self._url = url
        self._format: Format = form or formats.recognised(url)
        self._source = source
        self._poster = Poster(url, user_agent, ca_file, timeout_s, clock)
        self.describes = f"webhook at {urlsplit(url).hostname}, format {self._format}"

    def send(self, message: Message, stop: threading.Event, *, repeated: bool = False) -> Answer:
        """Post a message; see `Channel`."""
        body = formats.body(self._format, message, self._source, self._url, repeated=repeated)
        return self._poster.post(msgspec.json.encode(body), _JSON, stop)
