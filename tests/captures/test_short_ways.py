"""The fast paths of the decoders read usual frames by their bytes; their outputs must equal those of the slow path."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.captured_data import CAPTURES, require
from support.venues.message_types import HANDMADE, capture_files

from recorder.cli.decode.frame_files import received
from recorder.errors import DecodeError
from recorder.events import Output
from recorder.venues.base import Audit
from recorder.venues.dialects import dialects_of, match_dialect

_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[,:]')
NOW_NS = 1_793_000_000 * 10**9
FILES = [
    (venue, file) for venue in ("bitfinex", "figure", "kraken", "okx", "coinbase") for file in capture_files(venue)
] + [(name, HANDMADE / name / "handmade.jsonl") for name in ("bitfinex", "figure", "kraken", "okx", "coinbase")]


def spaced(frame: bytes) -> bytes:
    """Return the same JSON with a space after each comma and colon between its values."""
    return _TOKENS.sub(lambda found: found[0] + (b" " if found[0] in (b",", b":") else b""), frame)


def decoded(venue: str, frames: Sequence[bytes]) -> tuple[list[list[Output]], dict[str, Audit]]:
    """Return the outputs of each frame, and the verdicts on the books."""
    decoder = match_dialect(dialects_of(venue), frames[:100], NOW_NS).decoder()
    outputs: list[list[Output]] = []
    for frame in frames:
        try:
            outputs.append(list(decoder.decode(frame, NOW_NS)))
        except DecodeError:
            outputs.append([])
    return outputs, decoder.audits


@pytest.mark.parametrize(("venue", "file"), FILES, ids=[f"{venue}/{file.name}" for venue, file in FILES])
def test_frames_with_spaces_in_their_json_mean_the_same(venue: str, file: Path) -> None:
    frames = [item.frame for item in received(file) if not item.rest]
    loose = [spaced(frame) for frame in frames]
    assert json.loads(loose[0]) == json.loads(frames[0])
    assert decoded(venue, loose) == decoded(venue, frames)


def test_there_are_captures_to_compare() -> None:
    require(CAPTURES)
    assert len(FILES) > 15
