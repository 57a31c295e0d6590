"""The messages of the stream: what a client may ask for, and what it is sent. Pure.

A client sends `subscribe` and `unsubscribe`; it gets `hello`, `snapshot`, one `tick` a second, `gap`, `alert` and
`status` at once, and `error`. Every number, list and text of a client has a bound.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from recorder.web.answers.problems import type_of

FRAME_BYTES = 64 * 1024
"""The longest message of a client."""
TICK_S = 1.0
PING_S = 20.0

Kind = Literal["quote", "trade", "bar", "book", "gap", "alert", "status"]
Width = Literal["1m", "5m", "15m", "1h", "4h", "1d"]
WIDTHS: Mapping[str, int] = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14_400, "1d": 86_400}
WIDTH_NAMES: Mapping[int, str] = {seconds: name for name, seconds in WIDTHS.items()}
OF_INSTRUMENTS = ("quote", "trade", "bar", "book")
"""Kinds that need an instrument; of `gap` it is optional."""
MOST_STREAMS = 200
_NAME = Annotated[str, msgspec.Meta(max_length=300)]


class Topic(NamedTuple):
    """What several clients may want: one kind of one instrument."""

    kind: str
    instrument_id: int = 0  # 0: all, or none
    width_s: int = 0  # of bars


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stream in a message of a client."""

    kind: Kind
    instrument: _NAME = ""  # "kraken:BTC/USD", or the id as text
    width: Width = "1m"  # of bars


Streams = Annotated[list[Wanted], msgspec.Meta(min_length=1, max_length=MOST_STREAMS)]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Subscribe(msgspec.Struct, frozen=True, tag_field="op", tag="subscribe", forbid_unknown_fields=True):
    """A client wants streams; a snapshot answers it."""

    streams: Streams
    id: Number = 0


class Unsubscribe(msgspec.Struct, frozen=True, tag_field="op", tag="unsubscribe", forbid_unknown_fields=True):
    """A client wants streams no longer."""

    streams: Streams
    id: Number = 0


Request = Subscribe | Unsubscribe


class Refused(Exception):
    """A message of a client that cannot be served.

    Attributes:
        status: As of HTTP: 400, 404, 413, 429.
        title: In a few words.
        detail: One sentence that says what to do.
    """

    def __init__(self, status: int, title: str, detail: str, about: int = 0) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail, self.about = status, title, detail, about

    def frame(self) -> str:
        """Return the message that tells it to the client."""
        problem = {"type": type_of(self.status), "title": self.title, "status": self.status, "detail": self.detail}
        return text_of({"op": "error", "id": self.about, "problem": problem})


def parse(text: str | bytes) -> Request:
    """Return a message of a client.

    Raises:
        Refused: it is too long, or none of this protocol.
    """
    if len(text) > FRAME_BYTES:
        raise Refused(413, "Message too long", f"a message has at most {FRAME_BYTES} bytes; send several")
    try:
        request: Request = _DECODER.decode(text)
    except (msgspec.MsgspecError, UnicodeError) as error:
        detail = f"{str(error)[:200]}; send op subscribe or unsubscribe with streams"
        raise Refused(400, "Bad message", detail) from None
    return request


def topics(streams: Iterable[Wanted], ids: Mapping[str, int], about: int = 0) -> list[Topic]:
    """Return the topics of streams, without repetitions.

    Args:
        streams: As the client wrote them.
        ids: Instrument ids by name as written; a name that is absent is unknown.
        about: Number of the message.

    Raises:
        Refused: an instrument is missing or unknown.
    """
    found: dict[Topic, None] = {}
    for one in streams:
        if one.kind in ("alert", "status"):
            found[Topic(one.kind)] = None
        elif one.kind == "gap" and not one.instrument:
            found[Topic("gap")] = None
        elif not one.instrument:
            raise Refused(400, "No instrument", f"{one.kind} needs an instrument such as kraken:BTC/USD", about)
        elif one.instrument not in ids:
            detail = f"there is no instrument {one.instrument[:100]!r}; /api/v1/instruments lists all"
            raise Refused(404, "Unknown instrument", detail, about)
        else:
            width_s = WIDTHS[one.width] if one.kind == "bar" else 0
            found[Topic(one.kind, ids[one.instrument], width_s)] = None
    return list(found)


def named(streams: Iterable[Wanted]) -> list[str]:
    """Return the instruments that streams name, without repetitions."""
    return list(dict.fromkeys(one.instrument for one in streams if one.instrument))


def hello(version: str) -> str:
    """Return the first message of a connection."""
    return text_of(
        {
            "op": "hello",
            "server": version,
            "tick_ms": round(TICK_S * 1000),
            "max_symbols": MOST_STREAMS,
            "ping_s": round(PING_S),
        }
    )


def snapshot(about: int, items: Sequence[str]) -> str:
    """Return the answer to a subscription, from items that are encoded already."""
    return f'{{"op":"snapshot","id":{about},"items":[{",".join(items)}]}}'


def tick_head(seq: int, ts: datetime, problem: str = "") -> str:
    """Return the part of a tick before its items, which all clients share."""
    trouble = f',"problem":{text_of(problem)}' if problem else ""
    return f'{{"op":"tick","seq":{seq},"ts":"{instant(ts)}"{trouble},"items":['


def tick(head: str, items: Iterable[str]) -> str:
    """Return a tick."""
    return f"{head}{','.join(items)}]}}"


def instant(moment: datetime | None) -> str | None:
    """Return an instant as RFC 3339 in UTC with microseconds."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def finite(value: float | None) -> float | None:
    """Return a number that JSON has; else None."""
    return value if value is not None and math.isfinite(value) else None


def text_of(value: Any) -> str:
    """Return a value as JSON."""
    return _ENCODER.encode(value).decode()


_DECODER = msgspec.json.Decoder(Request)
_ENCODER = msgspec.json.Encoder()
