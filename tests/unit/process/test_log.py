"""Logging: the format of a line, and that no caller waits for the reader."""

import json
import logging
import os
import threading
import time
from collections.abc import Iterator

import pytest

from recorder.process import log
from recorder.settings import LogSettings


class Pipe:
    """A pipe to log into, read when a test wants to."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()

    def text(self) -> str:
        """Close the writing end and return all that was written."""
        os.close(self.write_end)
        with open(self.read_end, "rb") as file:
            return file.read().decode()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield Pipe()
    root.handlers[:] = before
    root.setLevel(level)


def test_a_line_is_time_level_event_and_fields(pipe: Pipe) -> None:
    handler = log.configure(LogSettings(), "recorder-x", fd=pipe.write_end)
    log.get_logger("a").info("link.down", venue="kraken", silence_s=30.2, reason="no data", empty="", ts=1795266563.78)
    log.get_logger("a").debug("unseen")
    assert handler.drain(5)
    stamp, rest = pipe.text().split(" ", 1)
    assert rest == 'INFO link.down venue=kraken silence_s=30.2 reason="no data" empty="" ts=1795266563.78\n'
    assert stamp.endswith("Z")


def test_json_lines_carry_the_program_and_the_standard_library_is_heard_too(pipe: Pipe) -> None:
    handler = log.configure(LogSettings(format="json"), "writer", fd=pipe.write_end)
    logging.getLogger("elsewhere").warning("odd: %s", 3)
    assert handler.drain(5)
    line = json.loads(pipe.text())
    assert line.pop("ts")
    assert line == {"level": "warning", "program": "writer", "event": "odd: 3"}


@pytest.mark.parametrize(
    "text", ["\x1b]0;owned\x07", "\u009b31m", "BTC\u202egnp", "x\n", "a\x85b", "a\u2028b", "\x7f", "a b\x9b"]
)
def test_no_field_event_or_traceback_of_a_line_reaches_the_log_unescaped(pipe: Pipe, text: str) -> None:
    handler = log.configure(LogSettings(), "writer", fd=pipe.write_end)
    log.get_logger("a").warning("link.refusal", reason=text, listed=[text], frame=text.encode("utf-8", "replace"))
    logging.getLogger("elsewhere").warning("%s", text)
    try:
        raise ValueError(f"{text}\n2026-11-30T00:00:00.000000Z ERROR forged.line")
    except ValueError:
        log.get_logger("a").exception("part.failed")
    assert handler.drain(5)
    written = pipe.text()
    assert all(line.isprintable() for line in written.split("\n"))
    assert sum(line.startswith("20") for line in written.split("\n")) == 3


def test_a_repeated_event_is_logged_once_in_a_while_with_the_number_left_out() -> None:
    sparingly = log.Sparingly(60.0)
    assert [sparingly.turn(now) for now in (100.0, 100.1, 159.9, 160.0, 160.1, 400.0)] == [0, None, None, 2, None, 1]


def test_a_traceback_follows_its_line(pipe: Pipe) -> None:
    handler = log.configure(LogSettings(), "writer", fd=pipe.write_end)
    try:
        raise ValueError("why")
    except ValueError:
        log.get_logger("a").exception("part.failed", part="x")
    assert handler.drain(5)
    lines = pipe.text().splitlines()
    assert lines[0].endswith("ERROR part.failed part=x")
    assert lines[-1] == "    ValueError: why"


def test_debug_shows_everything_whatever_the_level(pipe: Pipe) -> None:
    handler = log.configure(LogSettings(level="ERROR", debug=True), "writer", fd=pipe.write_end)
    log.get_logger("a").debug("seen")
    assert handler.drain(5)
    assert "DEBUG seen" in pipe.text()


def test_a_pipe_without_a_reader_blocks_no_caller_and_drops_are_counted_and_reported(pipe: Pipe) -> None:
    handler = log.configure(LogSettings(), "recorder-x", fd=pipe.write_end)
    logger = log.get_logger("a")
    lines = 3 * log.QUEUE_LINES

    def shout() -> None:
        for number in range(lines):
            logger.info("noise", number=number, padding="x" * 200)

    caller = threading.Thread(target=shout)
    caller.start()
    caller.join(20)
    assert not caller.is_alive()
    lost = log.dropped()
    assert 0 < lost < lines
    assert not handler.drain(0.2)  # still stuck: the exit of the program does not wait for it for ever

    read = bytearray()
    deadline = time.monotonic() + 20
    while b"log.dropped" not in read and time.monotonic() < deadline:
        logger.info("after")  # a later line reports those lost
        read += os.read(pipe.read_end, 1 << 16)
    assert f"log.dropped lines={lost}".encode() in read or b"log.dropped lines=" in read


def test_a_closed_pipe_is_no_error_of_the_program(pipe: Pipe) -> None:
    os.close(pipe.read_end)
    handler = log.configure(LogSettings(), "recorder-x", fd=pipe.write_end)
    log.get_logger("a").info("lost")
    assert handler.drain(5)
    assert handler.dropped == 1
