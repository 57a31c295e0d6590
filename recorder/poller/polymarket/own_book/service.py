"""The service `stream`: the books of the CLOB beside our own, and what the stream announced.

It is asked as a service, so that the journal of the poller has what it answered: after a kill, and in a replay, the
same rows follow from it.
"""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from recorder.clock import Clock
from recorder.errors import DecodeError, JournalError, RestRefused, RestUnavailable
from recorder.poller.polymarket.own_book import answer as wire
from recorder.poller.polymarket.own_book import news
from recorder.poller.polymarket.own_book.answer import Own
from recorder.poller.polymarket.own_book.books import MOST_TOKENS, OwnBook, OwnBooks
from recorder.poller.polymarket.own_book.compare import match
from recorder.poller.polymarket.own_book.news import KINDS, News
from recorder.poller.polymarket.own_book.tail import JournalTail
from recorder.poller.services import Reply, Service
from recorder.process.log import Sparingly, get_logger
from recorder.venues.polymarket.polls import books
from recorder.venues.polymarket.polls.books import Book

NAME = "stream"
READ_EVERY_S = 0.1
"""Between two looks at the journal."""

SETTLE_S = 2.0
"""How long a change may be on its way in the stream after an answer of REST has it."""

CHECK_S = 5.0
"""How long an answer of `/books` is waited for where we have books of our own. One of 250 takes half a second."""

_CHECKS = 4  # requests that may be on their way at once; those that are not waited for any more count, too
_CAUGHT_UP_S = 1.0
_AGAIN_S = 5.0  # after a journal that cannot be read
_LEAVE_S = 5.0
_LOOK_S = 0.2

_log = get_logger(__name__)


class StreamService:
    """Follows the journals of the recorders of the venue from its first request on.

    Args:
        clob: The service that it asks for books.
        folders: The journals, one for each process of the recorder.
        venue: Name of the venue, a part of instrument ids.
        silence_s: After this time without a frame a session proves nothing.
        flush_s: After this time a recorder has written what it received.
        clock: Gives the time.
        stop: Ends every wait.
    """

    def __init__(
        self,
        clob: Service,
        folders: Sequence[Path],
        venue: str,
        silence_s: float,
        flush_s: float,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        self.url = clob.url
        self._clob = clob
        self._clock = clock
        self._stop = stop
        self._flush_ns = int(flush_s * 2e9)
        self._news = News()
        self._tails = [JournalTail(folder, OwnBooks(venue, int(silence_s * 1e9)), self._news) for folder in folders]
        self._changed = threading.Condition()  # its lock guards the books and the news
        self._read_ns = 0  # all that was written before is read
        self._behind: set[str] = set()  # tokens whose last answer was newer than our book
        self._closed = False
        self._thread: threading.Thread | None = None
        self._checks = ThreadPoolExecutor(_CHECKS, "poll-check")
        self._asking = 0  # requests of `_checks` that have not ended

    # ---- requests -------------------------------------------------------------------------------------------

    def ask(self, path: str, body: bytes) -> Reply:
        """Return the books of some tokens with our own, our own alone, or the markets that were announced.

        Raises:
            RestError: The CLOB has no answer that can be used, or the path is not known.
        """
        self._follow()
        if path == books.PATH:
            return self._books(body)
        for reason, alone in wire.PATHS.items():
            if path == alone:
                return self._alone(body, reason)
        for kind in KINDS:
            if path == news.PATHS[kind]:
                with self._changed:
                    found = self._news.take(kind)
                return Reply(200, news.encode(found), attempts=0, received_ns=self._clock.wall_ns())
        raise RestRefused(f"the stream has no answer to {path}")

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(_LEAVE_S)
        self._checks.shutdown(wait=False, cancel_futures=True)

    def _books(self, request: bytes) -> Reply:
        tokens = books.requested(request)
        asked_ns = self._clock.wall_ns()
        with self._changed:
            for tail in self._tails:
                tail.books.want(tokens, asked_ns)
        reply = self._answer(tokens, request)
        received_ns = reply.received_ns or self._clock.wall_ns()
        if reply.status // 100 != 2:
            return reply
        try:
            theirs = {book.token: book for book in books.decode(reply.body, received_ns).books}
        except DecodeError:
            return reply  # whoever takes it says what is wrong with it
        own = self._compared(tokens, theirs, asked_ns, received_ns)
        body = wire.encode(wire.Compared(received_ns, own, msgspec.Raw(reply.body)))
        return reply._replace(body=body, received_ns=self._clock.wall_ns())

    def _answer(self, tokens: Sequence[str], request: bytes) -> Reply:
        """Return the answer of the CLOB. Where we have a book of our own, a late answer is not waited for.

        Raises:
            RestError: The CLOB has no answer that can be used, or none in time.
        """
        with self._changed:
            now_ns = self._clock.wall_ns()
            certain = any(isinstance(self._of(token).get(token, now_ns), OwnBook) for token in tokens)
            if certain and self._asking >= _CHECKS:
                raise RestUnavailable(f"{_CHECKS} requests of books have not been answered yet")
            self._asking += certain
        if not certain:
            return self._clob.ask(books.PATH, request)
        asked = self._checks.submit(self._clob.ask, books.PATH, request)
        asked.add_done_callback(self._asked)
        try:
            return asked.result(CHECK_S)
        except TimeoutError:
            error = RestUnavailable(f"{books.PATH} gave no answer within {CHECK_S:.0f} s")
            error.attempts = 1  # at least; those after it are in the log
            raise error from None

    def _asked(self, _: "Future[Reply]") -> None:
        with self._changed:
            self._asking -= 1

    def _alone(self, request: bytes, reason: wire.Unchecked) -> Reply:
        """Return our own books as they are now, where the CLOB gave no answer that could check them."""
        tokens = books.requested(request)
        now_ns = self._clock.wall_ns()
        self._wait_read(now_ns)
        with self._changed:
            own = [self._unchecked(token, reason, now_ns) for token in tokens]
        body = wire.encode(wire.Compared(now_ns, own, msgspec.Raw(b"[]")))
        return Reply(200, body, attempts=0, received_ns=self._clock.wall_ns())

    def _unchecked(self, token: str, reason: wire.Unchecked, asked_ns: int) -> Own:
        if self._read_ns < asked_ns:
            return Own(token, "uncompared", "journal")
        now_ns = self._clock.wall_ns()
        book = self._of(token).get(token, now_ns)
        if not isinstance(book, OwnBook):
            return Own(token, "uncompared", book)
        bids, asks = sorted(book.sides[0].items(), reverse=True), sorted(book.sides[1].items())
        return Own(token, "unchecked", reason, now_ns, book.stamp_ns, same=False, bids=bids, asks=asks)

    def _compared(
        self, tokens: Sequence[str], theirs: Mapping[str, Book], asked_ns: int, received_ns: int
    ) -> list[Own]:
        """Compare, and begin those books again that are not certain or differ."""
        self._wait_read(received_ns + self._flush_ns)
        found: dict[str, Own] = {}
        wanted = list(tokens)
        for _ in range(int(SETTLE_S / _LOOK_S)):
            with self._changed:
                found |= {token: self._one(token, theirs.get(token), received_ns) for token in wanted}
            wanted = [token for token in wanted if found[token].check == "differs"]
            if not wanted or self._closed or self._stop.wait(_LOOK_S):
                break
        with self._changed:
            found = {token: self._behind_or(own, theirs.get(token)) for token, own in found.items()}
            self._seed(found, theirs, asked_ns, received_ns)
        return list(found.values())

    def _behind_or(self, own: Own, theirs: Book | None) -> Own:
        """Return an answer that is newer than our book as uncompared: the stream may be late. The second is different.

        A lost change looks the same once, and then again; the answer is what is stored in both cases.
        """
        newer = own.check == "differs" and theirs is not None and theirs.ts_event_ns > own.stamp_ns
        if len(self._behind) > MOST_TOKENS:
            self._behind.clear()
        if newer and own.token not in self._behind:
            self._behind.add(own.token)
            return Own(own.token, "uncompared", "behind")
        self._behind.discard(own.token)
        return own

    def _one(self, token: str, theirs: Book | None, received_ns: int) -> Own:
        if theirs is None:
            return Own(token, "uncompared", "no answer")
        if self._read_ns < received_ns:
            return Own(token, "uncompared", "journal")
        now_ns = self._clock.wall_ns()
        book = self._of(token).get(token, now_ns)
        if not isinstance(book, OwnBook):
            return Own(token, "uncompared", book)
        if book.since_ns > received_ns:
            return Own(token, "uncompared", "no snapshot")  # none that was there before the answer
        matched = match(book, theirs)
        if matched == "none":
            return Own(token, "uncompared", "busy") if book.truncated else Own(token, "differs", stamp_ns=book.stamp_ns)
        own = Own(token, "agrees", looked_ns=now_ns, stamp_ns=book.stamp_ns, same=matched == "same")
        if matched == "earlier":
            own.bids = sorted(book.sides[0].items(), reverse=True)
            own.asks = sorted(book.sides[1].items())
        return own

    def _seed(self, found: Mapping[str, Own], theirs: Mapping[str, Book], asked_ns: int, received_ns: int) -> None:
        for own in found.values():
            if own.check == "differs" or own.reason in ("no snapshot", "crossed", "stamp", "busy"):
                self._of(own.token).seed(own.token, asked_ns, received_ns, theirs[own.token])

    def _of(self, token: str) -> OwnBooks:
        """Return the books of the recorder that streams a token."""
        every = [tail.books for tail in self._tails]
        return next((one for one in every if one.streams(token)), every[0])

    # ---- the journals ---------------------------------------------------------------------------------------

    def _wait_read(self, until_ns: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._read_ns >= until_ns or self._closed, _CAUGHT_UP_S)

    def _follow(self) -> None:
        with self._changed:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._body, name="poll-stream")
                self._thread.start()

    def _body(self) -> None:
        sparingly = Sparingly()
        pause_s = 0.0
        while not self._stop.wait(pause_s):
            now_ns = self._clock.wall_ns()
            pause_s = READ_EVERY_S
            try:
                with self._changed:
                    if self._closed:
                        break
                    complete = [tail.read() for tail in self._tails]
                    if all(complete):
                        self._read_ns = now_ns
                        self._changed.notify_all()
                    else:
                        pause_s = 0.0
            except (JournalError, OSError) as error:
                pause_s = _AGAIN_S
                left_out = sparingly.turn(self._clock.monotonic_s())
                if left_out is not None:
                    _log.warning("poll.journal_unreadable", error=str(error), left_out=left_out)
            except Exception:  # whatever a journal holds: the books begin again, and snapshots are of REST until then
                pause_s = _AGAIN_S
                self._forget()
                left_out = sparingly.turn(self._clock.monotonic_s())
                if left_out is not None:
                    _log.exception("poll.stream_failed", left_out=left_out)
        self._forget()

    def _forget(self) -> None:
        """Forget all books; the next look begins at the newest segments."""
        with self._changed:
            self._read_ns = 0
            for tail in self._tails:
                tail.close()
