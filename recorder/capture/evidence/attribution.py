"""Whose data an unreadable frame may have carried: the streams that must be declared. Pure.

A frame is compared as a person would read it: JSON escapes are resolved, and case is ignored, because a venue may
write `BTC\\/USD`, `\\u5e01` or `btcusdt@trade`. A name counts only as a whole: BTC-USD is not in BTC-USDT. Where the
frame leaves a choice, all streams that it may concern are returned.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping

from recorder.events import Channel, Stream
from recorder.venues.wire import ends_like_json, is_text

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([\"\\/]))")
_JOINERS = "-_/"  # they make one name of two: BTC-USD-SWAP, ETH/BTC, trade_id


def concerned(
    frame: bytes,
    streams: Collection[Stream],
    words: Mapping[str, Channel],
    symbol: str | None = None,
    channel: Channel | None = None,
) -> list[Stream]:
    """Return the streams whose data an unreadable frame may have carried.

    Args:
        frame: As it arrived.
        streams: Those that the connection carries.
        words: What the venue writes in the frames of a channel, see `Venue.channel_words`.
        symbol: Where the decoder knows whose data it is.
        channel: Where the decoder knows what data it is.
    """
    text = _readable(frame)
    channels = {channel} if channel is not None else {words[word] for word in words if _names(text, word.casefold())}
    if symbol is not None:
        symbols = {symbol}
    else:
        symbols = {name for name in {stream.symbol for stream in streams} if _names(text, name.casefold())}
    if is_text(frame) and not (symbols and ends_like_json(frame)):
        return []  # a notice costs nothing but itself
    if symbols:
        named = [stream for stream in streams if stream.symbol in symbols]
    elif channels or not _is_json(frame):
        named = list(streams)
    else:
        named = []
    # A connection without the channel that the frame names may still be concerned: the word may mean something else.
    return [stream for stream in named if stream.channel in channels] or named


def _readable(frame: bytes) -> str:
    text = frame.decode("utf-8", "replace")
    if "\\" in text:
        text = _ESCAPE.sub(lambda match: match[2] or chr(int(match[1], 16)), text)
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # two escapes may be one character
    return text.casefold()


def _names(text: str, name: str) -> bool:
    """Return whether a text contains a name that is not a part of a longer one."""
    at = text.find(name)
    while at >= 0:
        end = at + len(name)
        if not (_continues(text[max(0, at - 2) : at][::-1]) or _continues(text[end : end + 2])):
            return True
        at = text.find(name, at + 1)
    return False


def _continues(neighbours: str) -> bool:
    """Return whether the two characters next to a name, nearest first, belong to it."""
    if not neighbours:
        return False
    return neighbours[0].isalnum() or (neighbours[0] in _JOINERS and neighbours[1:].isalnum())


def _is_json(frame: bytes) -> bool:
    """Return whether a frame is complete: one that names nothing of ours is a notice then."""
    try:
        json.loads(frame)
    except (ValueError, RecursionError):
        return False
    return True


def only_symbol(streams: Iterable[Stream]) -> str | None:
    """Return the symbol of some streams; None where they have several."""
    symbols = {stream.symbol for stream in streams}
    return symbols.pop() if len(symbols) == 1 else None
