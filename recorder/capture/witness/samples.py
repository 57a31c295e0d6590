"""What a book of ours was while a question about it was on its way: samples that the link's thread takes."""

import threading
from collections import deque

from recorder.capture.link import Link
from recorder.capture.session import Session
from recorder.venues.witness import SeenBook

_SAMPLES_MAX = 1000  # a tick each; the answer to one question is awaited for less


class BookSamples:
    """Samples of one book, one at each tick of its session, while it is used as a context manager."""

    def __init__(self, link: Link, symbol: str) -> None:
        """
        Args:
            link: That carries the book.
            symbol: Whose book.
        """
        self._link = link
        self._symbol = symbol
        self._samples: deque[SeenBook | None] = deque(maxlen=_SAMPLES_MAX)
        self._taken = threading.Semaphore(0)
        self._closed = threading.Event()

    def __enter__(self) -> "BookSamples":
        self._link.with_session(self._take)
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for a sample that was not there when this was called; return whether one came."""
        while self._taken.acquire(blocking=False):
            pass
        return self._taken.acquire(timeout=timeout_s)

    def unbroken(self) -> list[SeenBook]:
        """Return the samples, oldest first; none where the book was missing or had a gap at any time."""
        samples = list(self._samples)
        return [] if None in samples else [one for one in samples if one is not None]

    def _take(self, session: Session) -> None:
        if self._closed.is_set():
            return
        self._samples.append(session.book_of(self._symbol))
        self._taken.release()
        self._link.with_session(self._take)
