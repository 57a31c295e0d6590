"""Asks a venue's REST service about silent streams and about books, stores what it says, and passes the verdict on.

It is asked here, in the recorder, because only the recorder knows which stream is silent, what it brought last and what
its book is. Its requests take the venue's shared budget with the priority of polls, so live books go first. An answer
is written among the frames of the session before it is decoded; the verdict is a row of table `witness`, which goes
through the journal like every other row. Nothing here touches a connection: its link's thread writes the answer.

All is bounded: questions wait in a queue of `QUEUE_MAX`, `PER_MINUTE` requests leave in any minute, an answer has at
most `BODY_MAX` bytes, and every wait has a limit. Whatever an answer holds, it costs a row "not comparable".
"""

import contextlib
import queue
import random
import threading
from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar

from recorder.capture.buffer import WriteBuffer
from recorder.capture.link import Link
from recorder.capture.liveness.consultation import Answer as Said
from recorder.capture.overlap import WitnessRecord
from recorder.capture.session import Session
from recorder.capture.witness.judgement import (
    GRACE_NS,
    BookJudgement,
    OurTrade,
    confirm,
    described,
    judge_book,
    judge_trades,
)
from recorder.capture.witness.samples import BookSamples
from recorder.clock import Clock
from recorder.errors import RecorderError, RestError
from recorder.events import Stream, WitnessRow
from recorder.printable import one_line
from recorder.process.health import WitnessFigures
from recorder.process.log import get_logger
from recorder.rest.client import Answer
from recorder.venues.witness import BookQuestion, SeenTrade, TradeQuestion, WitnessQuestions

PER_MINUTE = 4
"""Requests in any minute. The smallest budget of a venue is six, and the rest is for lists and snapshots."""
QUEUE_MAX = 32
BODY_MAX = 4 << 20
"""Bytes of an answer; the largest complete books have two million."""
_KEEP_S = 2.0  # a session writes a record at its next tick, a tenth of a second later
_AFTER_S = 1.0  # a book is watched this long after an answer: its feed may be behind REST
_AGAIN_S = 6.0  # before a second answer: longer than a cache of REST holds the first
_REASON_LENGTH = 200
_POLL_S = 0.5

_SILENT: dict[str, Literal["quiet", "dead"]] = {"agrees": "quiet", "differs": "dead"}  # of a silent stream

Asked = TypeVar("Asked", TradeQuestion, BookQuestion)

_log = get_logger(__name__)


class Question(NamedTuple):
    """What is to be asked."""

    link: Link
    stream: Stream
    silent_since_ns: int | None  # None: a book on schedule


class _Recheck(NamedTuple):
    """A question whose answer had trades that were too young to count."""

    at_s: float  # monotonic
    question: Question
    row: WitnessRow
    listed: list[SeenTrade]


class _NotComparable(Exception):
    """A question that has no verdict; its text is the reason."""


class WitnessAsker:
    """The witnesses of one recorder.

    Attributes:
        channels: That can be asked about.
        said: Verdicts on silent streams that `LivenessMonitor` has not taken yet.
        figures: For the health report.
    """

    def __init__(
        self,
        recorder: str,
        questions: WitnessQuestions,
        get: Callable[[str], Answer],
        buffer: WriteBuffer,
        book_check_s: float,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        """
        Args:
            recorder: Name of the process.
            questions: What can be asked at the venue.
            get: Makes one attempt at a path below the venue's REST endpoint, within its budget.
            buffer: Knows what the streams brought, and gets the rows.
            book_check_s: Time between two comparisons of a book.
            clock: Wall and monotonic.
            rng: For ids, and for the first book to be compared.
        """
        self.said: queue.SimpleQueue[tuple[Stream, Said]] = queue.SimpleQueue()
        self.figures = WitnessFigures()
        self.channels = questions.channels
        self._recorder = recorder
        self._questions = questions
        self._get = get
        self._buffer = buffer
        self._book_check_s = book_check_s
        self._clock = clock
        self._rng = rng
        self._waiting: queue.Queue[Question] = queue.Queue(QUEUE_MAX)
        self._rechecks: deque[_Recheck] = deque()
        self._asked_s: deque[float] = deque(maxlen=PER_MINUTE)
        self._compared = ""  # the symbol of the last book on schedule
        self._stop = threading.Event()

    def ask(self, question: Question) -> None:
        """Have a question asked; called from any thread, and returns at once."""
        try:
            self._waiting.put_nowait(question)
        except queue.Full:
            self.said.put((question.stream, "unknown"))

    def part(self, links: Callable[[], tuple[Link, ...]]) -> Callable[[threading.Event], None]:
        """Return a part that asks until it is stopped.

        Args:
            links: Returns the links of now.
        """

        def body(stop: threading.Event) -> None:
            self._stop = stop
            # Recorders that start together must not compare together, and a young one has to settle first.
            next_book_s = self._clock.monotonic_s() + self._book_check_s * self._rng.uniform(0.1, 0.9)
            while not stop.is_set():
                with contextlib.suppress(queue.Empty):
                    self._answer(self._waiting.get(timeout=_POLL_S))
                while self._rechecks and self._rechecks[0].at_s <= self._clock.monotonic_s():
                    self._recheck(self._rechecks.popleft())
                if self._clock.monotonic_s() >= next_book_s:
                    next_book_s = self._clock.monotonic_s() + self._book_check_s
                    self._compare_next(links())

        return body

    # ---- one question ------------------------------------------------------------------------------------

    def _answer(self, question: Question) -> None:
        """Ask one question, and store and pass on what comes of it."""
        row = self._row(question)
        try:
            if question.stream.channel == "trade":
                self._trades(question, row)
            else:
                self._book(question, row)
        except _NotComparable as error:
            row.reason = str(error)
        except RestError as error:
            row.reason, row.request_id = f"no answer: {error}", error.request_id
        except RecorderError as error:
            row.reason = f"odd answer: {error}"
        except Exception as error:  # an answer of a REST service must not end a recorder, whatever is wrong with it
            _log.exception("witness.fault", stream=str(question.stream))
            row.reason = f"fault in the adapter: {error!r}"
        if row.reason:
            self._finish(question, row)

    def _row(self, question: Question) -> WitnessRow:
        session = question.link.session
        return WitnessRow(
            witness_id=self._rng.getrandbits(63),
            recorder=self._recorder,
            symbol=question.stream.symbol,
            channel=question.stream.channel,
            cause="schedule" if question.silent_since_ns is None else "silence",
            asked_ns=self._clock.wall_ns(),
            silent_since_ns=question.silent_since_ns,
            session_id=None if session is None else session.session_id,
        )

    def _trades(self, question: Question, row: WitnessRow) -> None:
        asked = _possible(self._questions.trades)
        path = asked.path(question.stream.symbol, row.asked_ns)
        self._judge(question, row, asked.decode(self._request(question, row, path)))

    def _judge(self, question: Question, row: WitnessRow, listed: list[SeenTrade], *, again: bool = False) -> None:
        now_ns = self._clock.wall_ns()
        row.last_id, row.last_ts_event_ns = self._buffer.newest(question.stream)
        ours = OurTrade(row.last_id, row.last_ts_event_ns)
        verdict, reason, newest = judge_trades(listed, ours, question.silent_since_ns or now_ns, now_ns)
        if newest is not None:
            row.venue_id, row.venue_ts_event_ns = newest
        if verdict != "young":
            row.verdict, row.reason = verdict, reason
        elif again:
            row.reason = reason
        else:
            at_s = self._clock.monotonic_s() + GRACE_NS / 1e9
            self._rechecks.append(_Recheck(at_s, question, row, listed))

    def _recheck(self, recheck: _Recheck) -> None:
        """Judge an answer again: by now its trades have come, or they should have."""
        self._judge(recheck.question, recheck.row, recheck.listed, again=True)
        self._finish(recheck.question, recheck.row)

    def _book(self, question: Question, row: WitnessRow) -> None:
        asked = _possible(self._questions.books)
        judgement = self._compared_once(question, row, asked)
        if judgement.verdict == "doubtful":
            self._stop.wait(_AGAIN_S)
            judgement = confirm(judgement, self._compared_once(question, row, asked))
        row.levels, row.levels_different = judgement.levels, len(judgement.different)
        if judgement.verdict == "not comparable" or judgement.verdict == "doubtful":
            raise _NotComparable(judgement.reason)
        row.reason = judgement.reason
        if judgement.verdict == "differs":
            row.reason += f", {described(judgement.different)}"
        row.verdict = judgement.verdict if question.silent_since_ns is None else _SILENT[judgement.verdict]

    def _compared_once(self, question: Question, row: WitnessRow, asked: BookQuestion) -> BookJudgement:
        symbol = question.stream.symbol
        with BookSamples(question.link, symbol) as samples:
            if not samples.wait(_KEEP_S):
                raise _NotComparable("its connection is not open")
            if not samples.unbroken():
                raise _NotComparable("there is no book of ours without a gap")
            answer = asked.decode(self._request(question, row, asked.path(symbol)))
            self._stop.wait(_AFTER_S)
            ours = samples.unbroken()
        row.venue_id = answer.sequence
        row.last_id = ours[-1].sequence if ours else None
        return judge_book(ours, answer)

    def _request(self, question: Question, row: WitnessRow, path: str) -> bytes:
        """Return the body of an answer, which is in the journal by then.

        Raises:
            RestError: there is no answer.
            _NotComparable: it is no answer to the question, or the session ended before it was written.
        """
        now_s = self._clock.monotonic_s()
        if len(self._asked_s) == PER_MINUTE and now_s - self._asked_s[0] < 60.0:
            raise _NotComparable(f"{PER_MINUTE} requests were made in this minute")
        self._asked_s.append(now_s)
        answer = self._get(path)
        row.answered_ns, row.request_id = answer.received_ns, answer.request_id
        if len(answer.body) > BODY_MAX:
            raise _NotComparable(f"the answer has {len(answer.body)} bytes")
        stream = question.stream
        record = WitnessRecord(
            "witness",
            [(stream.channel, stream.symbol)],
            path=path,
            status=answer.status,
            body=answer.body.decode(errors="replace"),
        )
        kept = threading.Event()

        def keep(session: Session) -> None:
            session.keep(record)
            kept.set()

        question.link.with_session(keep)
        if not kept.wait(_KEEP_S):
            raise _NotComparable("its connection ended meanwhile")
        if answer.status != 200:
            raise _NotComparable(f"HTTP status {answer.status}")
        return answer.body

    def _finish(self, question: Question, row: WitnessRow) -> None:
        """Store a verdict, and pass it on."""
        row.reason = one_line(row.reason)[:_REASON_LENGTH]
        self._buffer.add_witness(row)
        verdicts = self.figures.verdicts
        text = f"{question.stream}: {row.verdict}, {row.reason}"
        counts = verdicts | {row.verdict: verdicts.get(row.verdict, 0) + 1}
        self.figures = WitnessFigures(counts, text, self._clock.wall_ns() / 1e9)
        log = _log.warning if row.verdict in ("dead", "differs") else _log.info
        log("witness.verdict", stream=str(question.stream), verdict=row.verdict, reason=row.reason, cause=row.cause)
        if question.silent_since_ns is not None:
            said: dict[str, Said] = {"quiet": "quiet", "dead": "dead"}
            self.said.put((question.stream, said.get(row.verdict, "unknown")))

    # ---- books on schedule ---------------------------------------------------------------------------------

    def _compare_next(self, links: tuple[Link, ...]) -> None:
        """Compare the next book, in the order of the symbols, with REST."""
        books = {one.symbol: link for link in links for one in link.accepted if one.channel == "book"}
        if not books:
            return
        symbols = sorted(books)
        later = [symbol for symbol in symbols if symbol > self._compared]
        # The first is a random one: a recorder that is restarted every day would compare the same few for ever.
        self._compared = self._rng.choice(symbols) if not self._compared else (later or symbols)[0]
        self._answer(Question(books[self._compared], Stream("book", self._compared), None))


def _possible(asked: Asked | str) -> Asked:
    """Return a question that can be asked.

    Raises:
        _NotComparable: the venue cannot be asked it.
    """
    if isinstance(asked, str):
        raise _NotComparable(asked)
    return asked
