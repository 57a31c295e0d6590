"""Logging: the shape of a line, and that nobody ever waits for the reader."""

import json
import logging
import os
import threading
import time
from collections.abc import Iterator

import pytest

from recorder import log
from recorder.settings import LogSettings


class Pipe:
    """A pipe to log into, read when a test wants to."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()

    def text(self) -> str:
        """All that was written; closes the writing end."""
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


def test_a_traceback_follows_its_line(pipe: Pipe) -> None:
    handler = log.configure(LogSettings(), "writer", fd=pipe.write_end)
    try:
        raise ValueError("why")
    except ValueError:
        log.get_logger("a").exception("part.failed", part="x")
    assert handler.drain(5)
    lines = pipe.text().splitlines()
    assert lines[0].endswith("ERROR part.failed part=x")
    assert lines[-1] == "ValueError: why"


def test_debug_shows_everything_whatever_the_level(pipe: Pipe) -> None:
    handler = log.configure(LogSettings(level="ERROR", debug=True), "writer", fd=pipe.write_end)
    log.get_logger("a").debug("seen")
    assert handler.drain(5)
    assert "DEBUG seen" in pipe.text()


def test_a_pipe_nobody_reads_blocks_no_caller_and_drops_are_counted_and_told(pipe: Pipe) -> None:
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
        logger.info("after")  # a later line carries the news of those lost
        read += os.read(pipe.read_end, 1 << 16)
    assert f"log.dropped lines={lost}".encode() in read or b"log.dropped lines=" in read


def test_a_closed_pipe_is_no_error_of_the_program(pipe: Pipe) -> None:
    os.close(pipe.read_end)
    handler = log.configure(LogSettings(), "recorder-x", fd=pipe.write_end)
    log.get_logger("a").info("lost")
    assert handler.drain(5)
    assert handler.dropped == 1
