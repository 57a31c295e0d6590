"""A REST server on loopback that answers with exactly the bytes of a test."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Answer = bytes | Callable[[socket.socket, threading.Event], None]
"""The bytes of an answer, after which the connection closes, or a function that serves the connection."""


def response(status: str = "200 OK", body: bytes = b"{}", *headers: str) -> bytes:
    """Return a complete and correct answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class RestServer:
    """A server with a list of answers, one per request; the last one is repeated."""

    def __init__(self, answers: list[Answer]) -> None:
        self._answers = answers
        self._end = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.requests: list[str] = []  # first lines, in order
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.times_s: list[float] = []  # monotonic, of the arrival of each head
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        while not self._end.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), name="rest-peer")
            self._threads.append(thread)
            thread.start()

    def end(self) -> None:
        self._end.set()

    def close(self) -> None:
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            received = b""
            while b"\r\n\r\n" not in received:
                piece = connection.recv(4096)
                if not piece:
                    return
                received += piece
            head, _, body = received.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            while length is not None and len(body) < int(length[1]):
                body += connection.recv(65536)
            self.times_s.append(time.monotonic())
            self.requests.append(head.split(b"\r\n")[0].decode())
            self.heads.append(head.decode())
            self.bodies.append(body)
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            if isinstance(answer, bytes):
                connection.sendall(answer)
            else:
                answer(connection, self._end)


@contextmanager
def rest_server(*answers: Answer) -> Iterator[RestServer]:
    """Serve while the block runs."""
    server = RestServer(list(answers))
    thread = threading.Thread(target=server.run, name="rest-server")
    thread.start()
    try:
        yield server
    finally:
        server.end()
        thread.join(10)
        server.close()


def resident_bytes() -> int:
    """Return the memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
