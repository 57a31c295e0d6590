"""Prints which messages the decoders were ever shown, after the results of the tests in this folder."""

import io
from typing import Any

from message_types import table
from rich.console import Console


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Venue x message type x where it was seen."""
    text = io.StringIO()
    Console(file=text, width=120).print(table())
    terminalreporter.section("coverage of messages")
    terminalreporter.write(text.getvalue())
