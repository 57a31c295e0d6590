"""What the stream announces of markets: that one opened, and that one is resolved."""

from collections.abc import Iterable
from typing import Any, Literal, get_args

import msgspec

from recorder.errors import DecodeError
from recorder.venues.polymarket.polls.values import condition_id
from recorder.venues.wire import MALFORMED

Kind = Literal["new_market", "market_resolved"]
KINDS: tuple[Kind, ...] = get_args(Kind)

PATHS: dict[Kind, str] = {kind: f"/{kind}" for kind in KINDS}
"""By which the service `stream` is asked."""

MOST = 2_000
"""Of the markets of one kind that wait to be asked for; seven new ones come in a minute."""

_MARKS = tuple(kind.encode() for kind in KINDS)


class _Message(msgspec.Struct, gc=False):
    event_type: Any = None
    market: Any = None
    condition_id: Any = None


_decode_one = msgspec.json.Decoder(_Message).decode
_decode_many = msgspec.json.Decoder(list[_Message]).decode


class News:
    """The condition ids of announced markets. Not safe for threads: the caller has a lock."""

    def __init__(self) -> None:
        self._found: dict[Kind, dict[str, None]] = {kind: {} for kind in KINDS}

    @staticmethod
    def occurs(frames: bytes) -> bool:
        """Return whether some frames may announce a market."""
        return any(mark in frames for mark in _MARKS)

    def read(self, frame: bytes) -> None:
        """Note the markets that a frame announces; one that is malformed costs itself."""
        try:
            messages = _decode_many(frame) if frame[:1] == b"[" else [_decode_one(frame)]
        except MALFORMED:
            return  # the recorder quarantined it
        for message in messages:
            for kind in KINDS:
                if message.event_type == kind and len(self._found[kind]) < MOST:
                    try:
                        self._found[kind][condition_id(message.market or message.condition_id)] = None
                    except ValueError:
                        continue  # a combination of markets, or no id

    def take(self, kind: Kind) -> list[str]:
        """Return the markets that were announced since the last call."""
        found = list(self._found[kind])
        self._found[kind].clear()
        return found


_decode = msgspec.json.Decoder(list[str]).decode


def encode(conditions: Iterable[str]) -> bytes:
    """Return the answer that names some markets."""
    return msgspec.json.encode(list(conditions))


def decode(body: bytes) -> list[str]:
    """Return the markets of an answer.

    Raises:
        DecodeError: It is no list of condition ids.
    """
    try:
        return [condition_id(one) for one in _decode(body)]
    except MALFORMED as error:
        raise DecodeError(f"not a list of markets: {error}") from error
