"""The decoders' short ways read usual frames by their bytes; they must say what the long way says."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from message_types import CAPTURES, HERE, capture_files

from recorder.cli.frame_files import received
from recorder.errors import DecodeError
from recorder.events import Output
from recorder.venues.base import Audit
from recorder.venues.dialects import dialects_of, spoken

_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[,:]')
NOW_NS = 1_793_000_000 * 10**9
FILES = [
    (venue, file) for venue in ("bitfinex", "figure", "kraken", "okx", "coinbase") for file in capture_files(venue)
] + [(name, HERE / name / "handmade.jsonl") for name in ("bitfinex", "figure", "kraken", "okx", "coinbase")]


def spaced(frame: bytes) -> bytes:
    """The same JSON with a space after each comma and colon between its values."""
    return _TOKENS.sub(lambda found: found[0] + (b" " if found[0] in (b",", b":") else b""), frame)


def told(venue: str, frames: Sequence[bytes]) -> tuple[list[list[Output]], dict[str, Audit]]:
    """What a session says to each frame, and its verdicts."""
    session = spoken(dialects_of(venue), frames[:100], NOW_NS).session()
    said = []
    for frame in frames:
        try:
            said.append(list(session.decode(frame, NOW_NS)))
        except DecodeError:
            said.append([])
    return said, session.audits


@pytest.mark.parametrize(("venue", "file"), FILES, ids=[f"{venue}/{file.name}" for venue, file in FILES])
def test_frames_with_spaces_in_their_json_mean_the_same(venue: str, file: Path) -> None:
    frames = [item.frame for item in received(file) if not item.rest]
    loose = [spaced(frame) for frame in frames]
    assert json.loads(loose[0]) == json.loads(frames[0])
    assert told(venue, loose) == told(venue, frames)


def test_there_are_captures_to_compare() -> None:
    if not CAPTURES.is_dir():
        pytest.skip(f"no captured data: {CAPTURES} is absent (set TAPEDECK_DATA)")
    assert len(FILES) > 15
