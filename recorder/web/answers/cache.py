"""A bounded cache of encoded answers about closed ranges."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

MOST_BYTES = 32 << 20
LARGEST = 2 << 20

T = TypeVar("T", bound=bytes)


class Cache(Generic[T]):
    """Bodies by key, at most so many bytes; the one used least recently goes first. Any thread may use it."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._lock = threading.Lock()
        self._bodies: OrderedDict[Hashable, T] = OrderedDict()
        self.bytes = 0
        self.hits = 0
        self.misses = 0

    def get(self, key: Hashable) -> T | None:
        """Return a body; None where there is none. The hit or miss is counted."""
        with self._lock:
            body = self._bodies.get(key)
            if body is None:
                self.misses += 1
                return None
            self.hits += 1
            self._bodies.move_to_end(key)
            return body

    def put(self, key: Hashable, body: T) -> None:
        """Keep a body, unless it is too large to be worth it."""
        if len(body) > min(LARGEST, self._most):
            return
        with self._lock:
            old = self._bodies.pop(key, None)
            self.bytes += len(body) - (0 if old is None else len(old))
            self._bodies[key] = body
            while self.bytes > self._most:
                _key, gone = self._bodies.popitem(last=False)
                self.bytes -= len(gone)
