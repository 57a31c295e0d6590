"""After the results of the tests in this folder, a table of the messages that the decoders were tested on."""

import io
from typing import Any

from rich.console import Console
from support.venues.message_types import table


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print venue, message type, and where it was seen."""
    text = io.StringIO()
    Console(file=text, width=120).print(table())
    terminalreporter.section("coverage of messages")
    terminalreporter.write(text.getvalue())
