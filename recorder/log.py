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

from recorder.settings import LogSettings

QUEUE_LINES = 4096
_PLAIN = re.compile(r"^[^\s\"'=]+$")


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; safe to make at import time, before `configure`."""
    return structlog.stdlib.get_logger(name)


class QueueWriter(logging.Handler):
    """Hands finished lines to a thread that writes them to a file descriptor."""

    def __init__(self, fd: int, max_lines: int = QUEUE_LINES) -> None:
        super().__init__()
        self._fd = fd
        self._lines: queue.Queue[bytes | None] = queue.Queue(max_lines)
        self._drop_lock = threading.Lock()
        self._dropped = 0
        self._told = 0
        # A daemon, unlike every other thread here: it may be stuck in a pipe nobody reads, and must not hold the exit.
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines lost because the queue was full, or because nothing could be written."""
        return self._dropped

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
        except (
            TypeError,
            ValueError,
            AttributeError,
            KeyError,
        ):  # a field that cannot be shown must not end its caller
            self.handleError(record)
            return
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._drop()

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything queued so far is written; False when the reader does not take it in time."""
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
            if self._dropped != self._told:
                lost, self._told = self._dropped - self._told, self._dropped
                line = f"{_now()} WARNING log.dropped lines={lost}\n".encode() + line
            try:
                while line:
                    line = line[os.write(self._fd, line) :]
            except OSError:  # the pipe is closed: nobody is left to tell, so go on counting
                self._drop()


def configure(settings: LogSettings, program: str, fd: int | None = None) -> QueueWriter:
    """Send all logging of this process, the standard library's included, to one descriptor.

    Args:
        settings: Level and format.
        program: Named in every JSON line.
        fd: Where to; standard output unless given.
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
    """Log lines this process has lost so far."""
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
    parts = [_now(), level, str(event), *(f"{key}={_show(value)}" for key, value in fields.items())]
    return " ".join(parts) + (f"\n{traceback}" if traceback else "")


def _show(value: object) -> str:
    if isinstance(value, float):
        return repr(round(value, 6))
    text = str(value)
    return text if _PLAIN.match(text) else json.dumps(text, ensure_ascii=False)
