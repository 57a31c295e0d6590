"""What a channel is."""

import threading
from typing import Protocol

from recorder.watchdog.delivery.message import Message
from recorder.watchdog.delivery.outbox import Answer


class Channel(Protocol):
    """Sends messages to one place."""

    name: str  # in the queue and in the log
    describes: str  # where it leads, for a person; without secrets

    def send(self, message: Message, stop: threading.Event, *, repeated: bool = False) -> Answer:
        """Send one message, within a bounded time.

        Args:
            message: The message.
            stop: Ends every wait.
            repeated: Whether an earlier attempt may have reached the receiver.

        Raises:
            Stopped: the program stops, and nothing was sent.
        """
        ...
