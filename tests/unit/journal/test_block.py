"""The bytes of a block: they decode to what was encoded, and damage is detected."""

import resource
import struct
from array import array
from zlib import crc32

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recorder.events import Gap
from recorder.journal import block
from recorder.journal.block import (
    PREFIX,
    BlockEncoder,
    BlockHeader,
    Run,
    Section,
    StreamCheckpoint,
    decode_frames,
    encode_frames,
    parse_header,
    parse_prefix,
    unpack_section,
)

GAP = Gap(1, "A", "trade", None, "disconnect", "open", None, 7, None, 10, None, 5, None, 1)
MARKS = [
    StreamCheckpoint("A", "trade", 3, True, 9, 90, 8, 80, 1, GAP),
    StreamCheckpoint("\u00e9/\U0001f600", "book", None, False, None, None, None, None, 2, None),
]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.binary(max_size=50), min_size=1, max_size=5), max_size=6))
def test_frames_come_out_as_they_went_in_with_their_receipts(chunks: list[list[bytes]]) -> None:
    frames = [frame for chunk in chunks for frame in chunk]
    receipts = [(1000 + number, len(chunk)) for number, chunk in enumerate(chunks)]
    raw = encode_frames(frames, array("I", map(len, frames)).tobytes(), receipts)
    cut = len(frames) // 2
    runs = [Run(5, 1, cut, 0), Run(6, 40, len(frames) - cut, 0)]
    found = decode_frames(runs, raw)
    assert [frame.payload for frame in found] == frames
    assert [frame.ts_recv_ns for frame in found] == [at for at, count in receipts for _ in range(count)]
    assert [(frame.session_id, frame.seq) for frame in found] == [
        *((5, 1 + number) for number in range(cut)), *((6, 40 + number) for number in range(len(frames) - cut))
    ]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 5))
@example(struct.pack("=Iqq", 1, 5, 10**15), 0)
@example(struct.pack("=Iqqqq", 2, 5, 10**15, 5, 3 - 10**15), 3)
def test_a_frames_section_of_another_shape_is_a_value_error(raw: bytes, count: int) -> None:
    try:
        decode_frames([Run(1, 1, count, 0)], raw)
    except ValueError:
        return
    assert count == 0 or raw  # few sections add up by chance


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=3000), st.sampled_from([b"", b"abc" * 2000]))
def test_a_section_is_stored_in_the_shorter_form_and_comes_back(raw: bytes, more: bytes) -> None:
    section, stored = BlockEncoder().section("trade", 3, raw + more, (19000,))
    assert section.size == len(stored) <= section.raw_size == len(raw + more)
    assert unpack_section(section, stored) == raw + more


@pytest.mark.parametrize("raw", [b"tiny", b"abc" * 2000])
def test_a_section_with_a_wrong_byte_is_refused(raw: bytes) -> None:
    section, stored = BlockEncoder().section("quote", 1, raw, ())
    for at in range(0, len(stored), 7):
        flipped = stored[:at] + bytes([stored[at] ^ 0x10]) + stored[at + 1 :]
        with pytest.raises(ValueError, match="crc of section quote"):
            unpack_section(section, flipped)
    with pytest.raises(ValueError, match="crc"):
        unpack_section(section, stored[:-1])


@pytest.mark.parametrize("names_its_size", [True, False])
@pytest.mark.parametrize("claimed", [4096, (1 << 30) + 1, 257 << 20])
def test_a_section_of_a_made_file_takes_no_more_memory_than_its_header_says(names_its_size: bool, claimed: int) -> None:
    bomb = zstandard.ZstdCompressor(write_content_size=names_its_size).compress(bytes(256 << 20))
    assert len(bomb) < 1 << 16
    section = Section("trade", 1, len(bomb), claimed, crc32(bomb), ())
    before = resident_peak_bytes()
    with pytest.raises(ValueError, match="section trade"):
        unpack_section(section, bomb)
    if claimed == 4096:
        assert resident_peak_bytes() - before < 64 << 20


def resident_peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_block_carries_its_header_and_bodies() -> None:
    encoder = BlockEncoder()
    parts = [encoder.section("trade", 2, b"rows" * 400, (1, 2)), encoder.section("gap", 1, b"g", ())]
    header = BlockHeader(55, [Run(3, 8, 2, 54)], [section for section, _ in parts], MARKS)
    data = encoder.block(34, 12, header, [body for _, body in parts])
    parsed = parse_prefix(data[: PREFIX.size])
    assert parsed is not None
    header_size, body_size, crc, seq, incarnation = parsed
    assert (incarnation, seq, PREFIX.size + header_size + body_size) == (34, 12, len(data))
    packed = data[PREFIX.size : PREFIX.size + header_size]
    assert parse_header(packed, body_size, crc, seq, incarnation) == header
    assert data.endswith(parts[0][1] + parts[1][1])


def test_a_wrong_bit_in_prefix_or_header_is_noticed() -> None:
    data = BlockEncoder().block(34, 12, BlockHeader(55, [], [], MARKS), [])
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        parsed = parse_prefix(bytes(flipped[: PREFIX.size]))
        if parsed is not None:
            header_size, body_size, crc, seq, incarnation = parsed
            packed = bytes(flipped[PREFIX.size : PREFIX.size + header_size])
            if len(packed) < header_size:
                continue  # the reader finds no such header in the file
            assert parse_header(packed, body_size, crc, seq, incarnation) is None


def test_sizes_no_block_has_are_no_prefix() -> None:
    assert parse_prefix(PREFIX.pack(block.MAGIC, block.LARGEST_HEADER + 1, 0, 0, 0, 0)) is None
    assert parse_prefix(PREFIX.pack(block.MAGIC, 10, block.LARGEST_BODY + 1, 0, 0, 0)) is None
    assert parse_prefix(PREFIX.pack(b"XXXX", 10, 10, 0, 0, 0)) is None
