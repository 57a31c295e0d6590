"""Lets another thread end a call to Postgres that gets no answer."""

import contextlib
import os
import socket
import threading

from recorder.store.database import Connection


class Lifeline:
    """The socket of a connection. Cutting it makes a call that waits for the server fail at once.

    A limit that the server keeps does not help when the server itself hangs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._backend = 0

    @property
    def backend(self) -> int:
        """Process number of the server process at the other end; 0 without a connection."""
        return self._backend

    def attach(self, connection: Connection) -> None:
        """Watch over a new connection."""
        self.detach()
        # A duplicate: the descriptor of the connection may be closed, and its number used again, at any moment.
        with self._lock:
            self._socket = socket.socket(fileno=os.dup(connection.fileno()))
            self._backend = connection.info.backend_pid

    def detach(self) -> None:
        """Forget the connection, which is closed."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket, self._backend = None, 0

    def cut(self) -> None:
        """Make the present call fail, from another thread."""
        with self._lock:
            if self._socket is not None:
                with contextlib.suppress(OSError):  # the other end was faster
                    self._socket.shutdown(socket.SHUT_RDWR)
