"""Recording and a replay count the same outputs."""

import itertools
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.write_buffers import NOW, Rig, S

from recorder.capture.counting import Counted
from recorder.capture.ingest import Ingest
from recorder.errors import DecodeError
from recorder.events import CHANNELS, Accepted, Alive, Book, Output, Quote, Resync, SessionRow, Stream, Trade, Witness
from recorder.venues.base import Audit

IMPLAUSIBLE_NS = (0, NOW + 2 * 86_400 * S)
OUTPUTS: list[Output] = [
    *(Trade("A-USD", number, at_ns, NOW, 1.0, 1.0) for number, at_ns in enumerate((NOW, *IMPLAUSIBLE_NS), 1)),
    Quote("A-USD", NOW, NOW, 1, 1.0, 1.0, 2.0, 1.0),
    Book("A-USD", NOW, NOW, True, 1, [(1.0, 1.0)], []),
    Book("A-USD", NOW, NOW, False, 2, [(1.0, 0.0)], []),
    Witness("A-USD", 9, NOW),
    Accepted(Stream("trade", "A-USD")),
    Alive(),
    Resync("A-USD", "crossed", "bid above ask"),
]


class Scripted:
    """A decoder that returns the outputs of a script, one entry a frame; it refuses a frame whose entry is None."""

    def __init__(self, script: Sequence[Sequence[Output] | None]) -> None:
        self.audits: dict[str, Audit] = {}
        self._script = iter(script)

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        outputs = next(self._script)
        if outputs is None:
            raise DecodeError("not understood")
        return [msgspec.structs.replace(output) for output in outputs]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.lists(st.sampled_from(OUTPUTS), max_size=6), min_size=1, max_size=6))
def test_recording_counts_by_the_rule_that_a_replay_uses(
    tmp_path_factory: pytest.TempPathFactory, script: list[list[Output] | None]
) -> None:
    rig = Rig(tmp_path_factory.mktemp("counting") / "j")
    ingest = Ingest(SessionRow(1, "coinbase", "recorder", 0, "ws://x", NOW), Scripted(script), rig.buffer)
    ingest.watch([Stream(channel, "A-USD") for channel in CHANNELS], NOW)
    taken = ingest.take([b"{}"] * len(script), NOW)

    counted, quarantined = Counted(), 0
    decoder = Scripted(script)
    for seq in itertools.count(1):
        if seq > len(script):
            break
        try:
            quarantined += counted.add(decoder.decode(b"{}", NOW), seq, NOW) is not None
        except DecodeError:
            quarantined += 1
    rig.journal.close()
    assert (taken.trades, taken.quotes, taken.books) == (counted.trades, counted.quotes, counted.books)
    assert taken.quarantined == quarantined
