"""Logs: an event name and its fields on one line, written by a thread of their own.

A caller never waits for the reader of our output: lines go through a bounded queue, and what does not fit is
dropped and counted. Use: `log = get_logger(__name__)`, then `log.info("link.down", venue="kraken", retry_s=1.7)`.
"""

import atexit
import json
import logging
import os
import queue
import re
import sys
import threading
import time

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from recorder.printable import printable
from recorder.settings import LogSettings

QUEUE_LINES = 4096
_PLAIN = re.compile(r"[^\s\"'=]+")


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger; this is safe at import time, before `configure`."""
    return structlog.stdlib.get_logger(name)


class Sparingly:
    """Lets one event of a kind into the log in a while, and counts the others.

    A fault of every frame would fill all the history that the log keeps within minutes.

    Args:
        every_s: Least time between two of them.
    """

    def __init__(self, every_s: float = 60.0) -> None:
        self._every_s = every_s
        self._next_s = 0.0
        self._left_out = 0

    def turn(self, now_s: float) -> int | None:
        """Return how many events were left out since the last one that was logged; None to leave out this one."""
        if now_s < self._next_s:
            self._left_out += 1
            return None
        self._next_s = now_s + self._every_s
        left_out, self._left_out = self._left_out, 0
        return left_out


class QueueWriter(logging.Handler):
    """Hands finished lines to a thread that writes them to a file descriptor."""

    def __init__(self, fd: int, max_lines: int = QUEUE_LINES) -> None:
        super().__init__()
        self._fd = fd
        self._lines: queue.Queue[bytes | None] = queue.Queue(max_lines)
        self._drop_lock = threading.Lock()
        self._dropped = 0
        self._reported = 0  # of `_dropped`
        # A daemon, unlike every other thread: it may be stuck in a pipe without a reader, and must not delay the exit.
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines lost because the queue was full or could not be written."""
        return self._dropped

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
        except (TypeError, ValueError, AttributeError, KeyError):  # a field without a text must not end the caller
            self.handleError(record)
            return
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._drop()

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything queued so far is written; return False when that takes too long."""
        deadline = time.monotonic() + timeout_s
        try:
            self._lines.put(None, timeout=timeout_s)
        except queue.Full:
            return False
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def _drop(self) -> None:
        with self._drop_lock:
            self._dropped += 1

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            if self._dropped != self._reported:
                lost, self._reported = self._dropped - self._reported, self._dropped
                line = f"{_now()} WARNING log.dropped lines={lost}\n".encode() + line
            try:
                while line:
                    line = line[os.write(self._fd, line) :]
            except OSError:  # the pipe is closed: only the count is left
                self._drop()


def configure(settings: LogSettings, program: str, fd: int | None = None) -> QueueWriter:
    """Send all logging of this process, including the standard library's, to one descriptor.

    Args:
        settings: Level and format.
        program: Named in every JSON line.
        fd: Of the output; standard output unless given.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
    ]
    last: Processor = _JsonLine(program) if settings.format == "json" else _key_value_line
    handler = QueueWriter(sys.stdout.fileno() if fd is None else fd)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        if isinstance(old, QueueWriter):
            old.drain(1.0)
    root.addHandler(handler)
    root.setLevel("DEBUG" if settings.debug else settings.level)
    for chatty in ("urllib3", "apscheduler", "websocket", "websockets", "asyncio"):
        logging.getLogger(chatty).setLevel("WARNING")
    atexit.register(handler.drain, 1.0)
    return handler


def dropped() -> int:
    """Return how many log lines this process has lost so far."""
    return sum(handler.dropped for handler in logging.getLogger().handlers if isinstance(handler, QueueWriter))


def _now() -> str:
    now_ns = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_ns // 10**9)) + f".{now_ns // 1000 % 10**6:06d}Z"


class _JsonLine:
    def __init__(self, program: str) -> None:
        self._program = program

    def __call__(self, _logger: WrappedLogger, _method: str, fields: EventDict) -> str:
        head = {"ts": _now(), "level": fields.pop("level", "info"), "program": self._program}
        return json.dumps({**head, "event": fields.pop("event"), **fields}, default=str)


def _key_value_line(_logger: WrappedLogger, _method: str, fields: EventDict) -> str:
    level, event = str(fields.pop("level", "info")).upper(), fields.pop("event")
    traceback = fields.pop("exception", None)
    parts = [_now(), level, printable(str(event)), *(f"{key}={_show(value)}" for key, value in fields.items())]
    return " ".join(parts) + (_indented(traceback) if traceback else "")


def _indented(traceback: str) -> str:
    """Return a traceback below its line; indented, so that no line of an exception's message passes for one of ours."""
    return "".join(f"\n    {printable(line)}" for line in traceback.split("\n"))


def _show(value: object) -> str:
    if isinstance(value, float):
        return repr(round(value, 6))
    text = str(value)
    if _PLAIN.fullmatch(text) and text.isprintable():
        return text
    return printable(json.dumps(text, ensure_ascii=False))
