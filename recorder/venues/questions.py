"""Questions to a venue about what its protocol page leaves uncertain: values, and steps that ask and judge.

A question yields what it wants to have asked, receives the answer, and returns a verdict. It does no I/O itself:
`recorder/probe` asks. The same request is sent once in a probe, however many questions want its answer.
"""

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, TypeVar

import msgspec

from recorder.events import Output, Stream
from recorder.venues.base import Audit
from recorder.venues.wire import MALFORMED

SEEN_MAX = 300
"""Characters of what was seen; the answer itself is kept in a file."""

LISTEN_S = 12.0
"""How long a question listens to a stream unless it says otherwise."""

Word = Literal["agrees", "differs", "no answer"]
Row = TypeVar("Row")

_REFUSING = (401, 403, 407, 418, 429, 451)
_SAMPLE = 80


class Verdict(NamedTuple):
    """What became of a question."""

    word: Word
    seen: str


def agrees(seen: str) -> Verdict:
    """Return the verdict that the venue does what is assumed."""
    return Verdict("agrees", seen[:SEEN_MAX])


def differs(seen: str) -> Verdict:
    """Return the verdict that the venue does something else."""
    return Verdict("differs", seen[:SEEN_MAX])


def no_answer(reason: str) -> Verdict:
    """Return the verdict that the answer says nothing about the assumption."""
    return Verdict("no answer", reason[:SEEN_MAX])


def judged(as_assumed: bool, seen: str) -> Verdict:
    """Return whether the venue does what is assumed."""
    return agrees(seen) if as_assumed else differs(seen)


class Settled(Exception):
    """Ends a question before its last step, with its verdict."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.seen)
        self.verdict = verdict


# ---- what a question asks, and what it receives


class Rest(msgspec.Struct, frozen=True):
    """One REST request, without retries."""

    path: str
    service: str = ""  # a name of `Questionnaire.services`; empty: the venue's own REST
    body: bytes = b""  # POST where it is not empty


class Listen(msgspec.Struct, frozen=True):
    """Subscribe on the one connection of the probe, and read until all is there or the time is over.

    The first one of a venue opens the connection. Everything is there when each stream was accepted and had data, so
    many frames and trades came, and each text of `until` was in a frame; without any of these the time decides.
    """

    streams: tuple[Stream, ...] = ()
    frames: tuple[str, ...] = ()  # sent after the subscriptions
    seconds: float = LISTEN_S
    least_frames: int = 0
    trades: int = 0
    until: tuple[bytes, ...] = ()


Ask = Rest | Listen


class Reply(msgspec.Struct, frozen=True):
    """The answer to a REST request, of any status."""

    status: int
    body: bytes
    headers: Mapping[str, str]  # names in lower case
    received_ns: int  # wall clock


class Frame(NamedTuple):
    """One received message."""

    data: bytes
    ts_recv_ns: int


class Heard(msgspec.Struct):
    """What came while a question listened, and what the venue's live decoder made of it."""

    frames: list[Frame] = []
    outputs: list[Output] = []
    odd: list[str] = []  # reasons of the frames that the decoder refused
    audits: dict[str, Audit] = {}  # of the connection so far
    ended: str = ""  # why the connection ended early


Steps = Generator[Ask, Reply | Heard, Verdict]


class Subject(NamedTuple):
    """What the questions are about."""

    symbol: str
    now_ns: int  # wall clock at the start of the probe


class Question(msgspec.Struct, frozen=True):
    """One uncertain statement of a protocol page."""

    name: str
    source: str  # page and section
    assumed: str  # one sentence
    steps: Callable[[Subject], Steps] | None = None
    needs: str = ""  # why it is not asked, where it has no steps


class Questionnaire(msgspec.Struct, frozen=True):
    """The questions to one venue, those that listen first: later requests would leave the connection unread."""

    symbol: str  # to ask about where the settings name none; empty: the questions choose by themselves
    questions: tuple[Question, ...]
    services: tuple[str, ...] = ()  # further REST services, by the names of the setting poller.services


# ---- steps that questions share


def rest(path: str, service: str = "", body: bytes = b"") -> Generator[Ask, Reply | Heard, Reply]:
    """Ask for a path, and return the answer of any status."""
    reply = yield Rest(path, service, body)
    assert isinstance(reply, Reply)
    return reply


def ask_json(path: str, service: str = "", body: bytes = b"") -> Generator[Ask, Reply | Heard, Reply]:
    """Ask for a path, and return an answer of status 200 to 299 that is not a page.

    Raises:
        Settled: There is none.
    """
    reply = yield from rest(path, service, body)
    require_answer(reply)
    return reply


def listen(wanted: Listen) -> Generator[Ask, Reply | Heard, Heard]:
    """Listen to the stream.

    Raises:
        Settled: Nothing came.
    """
    heard = yield wanted
    assert isinstance(heard, Heard)
    if not heard.frames:
        raise Settled(no_answer(heard.ended or f"nothing came in {wanted.seconds:g} s"))
    return heard


def require_service(reply: Reply) -> None:
    """Require an answer to the request itself, also one that refuses it.

    Raises:
        Settled: It is a refusal to serve us, a failure, or a page: no answer.
    """
    if is_page(reply.body) or reply.status in _REFUSING or not 200 <= reply.status <= 499 or 300 <= reply.status <= 399:
        raise Settled(no_answer(f"HTTP {reply.status}{excerpt(reply.body)}"))


def require_answer(reply: Reply) -> None:
    """Require an answer of status 200 to 299 that is not a page.

    Raises:
        Settled: There is no answer to the request itself, or the venue refuses it, which differs.
    """
    require_service(reply)
    if reply.status > 299:
        raise Settled(differs(f"HTTP {reply.status}{excerpt(reply.body)}"))


def is_page(body: bytes) -> bool:
    """Return whether an answer is a page of HTML instead of data."""
    return body.lstrip()[:1] == b"<"


def excerpt(body: bytes) -> str:
    """Return the beginning of an answer, for what was seen."""
    text = " ".join(body[:_SAMPLE].decode("utf-8", "replace").split())
    return f": {text}" if text else ""


def decoded(decode: Callable[[bytes], Row], reply: Reply) -> Row:
    """Decode an answer.

    Raises:
        Settled: It does not have the shape that is assumed.
    """
    try:
        return decode(reply.body)
    except (*MALFORMED, OverflowError) as error:
        raise Settled(differs(f"another form: {error}{excerpt(reply.body)}")) from error


def steps_of_one(ids: Sequence[int]) -> bool:
    """Return whether each id is the one before and one."""
    return all(following == before + 1 for before, following in pairwise(ids))


def rising(values: Sequence[int]) -> bool:
    """Return whether no value is below the one before."""
    return all(before <= following for before, following in pairwise(values))


def times_have(text: str) -> int:
    """Return the decimals of a time's seconds."""
    found = re.search(r"\.(\d+)", text)
    return 0 if found is None else len(found[1])
