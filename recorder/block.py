"""The bytes of a journal block: what one flush writes, whole or not at all.

    prefix   magic "TDBK", header bytes, body bytes, CRC-32 of (these, header), block number
    header   msgpack of BlockHeader
    body     frames section (zstd), then one section a table: binary COPY tuples, zstd where that pays

Each section has a CRC-32 of its own, so that damage in one costs nothing of the others. A segment file
begins with FILE_HEADER and a checkpoint: a block whose marks name every stream.
"""

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from zlib import crc32

import msgspec
import zstandard

from recorder.events import Channel, Gap, Session

FILE_MAGIC = b"TAPEDK01"
FILE_HEADER = struct.Struct("<8s16sII")  # magic, journal id, segment number, crc of these
MAGIC = b"TDBK"
PREFIX = struct.Struct("<4sIIIQ")
_CHECKED = struct.Struct("<4sIIQ")
LARGEST_HEADER = 1 << 26
LARGEST_BODY = 1 << 30
_WORTH_COMPRESSING = 512
# Level 1 would pack captures a fifth tighter and cost the recorder 8 % more CPU (tests/bench, 2026-11-21).
_LEVEL = -1


class Mark(msgspec.Struct, array_like=True, gc=False):
    """Where a stream stood when the block was written; the latest mark of a stream is its state."""

    symbol: str
    channel: Channel
    session_id: int | None
    watched: bool  # False: nobody asked for it any more
    last_id: int | None
    last_ts_event_ns: int | None
    first_id: int | None  # first of this block
    first_ts_event_ns: int | None
    since_ns: int  # when it was first asked for
    gap: Gap | None  # the gap that is open


class Run(msgspec.Struct, array_like=True, gc=False):
    """Consecutive frames of one session in the frames section."""

    session_id: int
    first_seq: int  # number of the first frame in its session
    count: int
    last_ns: int  # receipt of the session's latest frame, kept or not
    totals: tuple[int, int, int, int, int] = (
        0,
        0,
        0,
        0,
        0,
    )  # of the session so far: bytes, trades, quotes, books, quarantined


def counted(session: Session, run: Run) -> Session:
    """A session's row brought up to the end of a run."""
    names = ("bytes", "trades", "quotes", "books", "quarantined")
    counts = dict(zip(names, run.totals, strict=True))
    frames = max(session.frames, run.first_seq + run.count - 1)
    return msgspec.structs.replace(session, last_frame_ns=run.last_ns, frames=frames, **counts)


class Section(msgspec.Struct, array_like=True, gc=False):
    """One part of the body."""

    table: str  # "" is the frames section
    rows: int
    size: int  # bytes in the body
    raw_size: int  # bytes once decompressed; equal to `size` where it was stored plain
    crc: int  # of the bytes in the body
    days: tuple[int, ...]  # days since 1970 of the partition key; () where the table has no partitions


class BlockHeader(msgspec.Struct, array_like=True, gc=False):
    """What a block holds."""

    written_ns: int
    runs: list[Run]
    sections: list[Section]
    marks: list[Mark]
    sessions: list[Session] = []  # rows said in this block; in a checkpoint those of all sessions that live
    checkpoint: bool = False
    venue: str = ""  # in a checkpoint
    recorder: str = ""  # in a checkpoint
    columns: dict[str, tuple[str, ...]] = {}  # in a checkpoint: table -> its columns in COPY order


class Frame(msgspec.Struct, gc=False):
    """One journalled frame."""

    session_id: int
    seq: int
    ts_recv_ns: int
    payload: bytes


_encode_header = msgspec.msgpack.Encoder().encode
_decode_header = msgspec.msgpack.Decoder(BlockHeader).decode


Receipt = tuple[int, int]
"""A time of receipt, and how many frames came at it: one read of the socket."""


def encode_frames(payloads: Iterable[bytes], lengths: bytes, receipts: Sequence[Receipt]) -> bytes:
    """Receipts, lengths, payloads, each together: columns compress better than records.

    Args:
        payloads: All frames, in any number of pieces.
        lengths: Of each frame, as an array of unsigned int.
        receipts: They add up to the number of frames.
    """
    numbers = array("q", [number for receipt in receipts for number in receipt])
    return b"".join((len(receipts).to_bytes(4, sys.byteorder), numbers.tobytes(), lengths, *payloads))


def decode_frames(runs: Sequence[Run], raw: bytes) -> list[Frame]:
    """The frames of a block.

    Raises:
        ValueError: the section is not of the shape its runs say.
    """
    count = sum(run.count for run in runs)
    numbers, lengths = array("q"), array("I")
    offset = 4 + 16 * int.from_bytes(raw[:4], sys.byteorder)
    numbers.frombytes(raw[4:offset])
    lengths.frombytes(raw[offset : offset + 4 * count])
    offset += 4 * count
    if sum(numbers[1::2]) != count or min(numbers[1::2], default=0) < 0:  # before so many are made
        raise ValueError("frames section does not add up")
    receipts = [at_ns for at_ns, frames in zip(numbers[::2], numbers[1::2], strict=True) for _ in range(frames)]
    if offset + sum(lengths) != len(raw) or not len(lengths) == len(receipts) == count:
        raise ValueError("frames section does not add up")
    frames = []
    places = ((run.session_id, run.first_seq + n) for run in runs for n in range(run.count))
    for (session_id, seq), length, receipt in zip(places, lengths, receipts, strict=True):
        frames.append(Frame(session_id, seq, receipt, raw[offset : offset + length]))
        offset += length
    return frames


class BlockEncoder:
    """Builds the bytes of blocks. One per thread: a zstd context is not shared."""

    def __init__(self) -> None:
        self._compress = zstandard.ZstdCompressor(level=_LEVEL).compress

    def section(self, table: str, rows: int, raw: bytes, days: tuple[int, ...]) -> tuple[Section, bytes]:
        """A section and its bytes."""
        stored = self._compress(raw) if len(raw) >= _WORTH_COMPRESSING else raw
        if len(stored) >= len(raw):
            stored = raw
        return Section(table, rows, len(stored), len(raw), crc32(stored), days), stored

    def block(self, seq: int, header: BlockHeader, bodies: Sequence[bytes]) -> bytes:
        """The bytes of a whole block."""
        packed = _encode_header(header)
        body_size = sum(section.size for section in header.sections)
        crc = crc32(packed, crc32(_CHECKED.pack(MAGIC, len(packed), body_size, seq)))
        return b"".join((PREFIX.pack(MAGIC, len(packed), body_size, crc, seq), packed, *bodies))


def parse_prefix(data: bytes) -> tuple[int, int, int, int] | None:
    """(header bytes, body bytes, crc, block number) of a prefix; None where it cannot be one."""
    magic, header_size, body_size, crc, seq = PREFIX.unpack(data)
    if magic != MAGIC or body_size > LARGEST_BODY or header_size > LARGEST_HEADER:
        return None
    return header_size, body_size, crc, seq


def parse_header(packed: bytes, body_size: int, crc: int, seq: int) -> BlockHeader | None:
    """The header; None where its CRC or shape says it is damaged."""
    if crc32(packed, crc32(_CHECKED.pack(MAGIC, len(packed), body_size, seq))) != crc:
        return None
    try:
        return _decode_header(packed)
    except msgspec.MsgspecError:
        return None


def check_section(section: Section, stored: bytes) -> None:
    """
    Raises:
        ValueError: the CRC says that a section is damaged.
    """
    if len(stored) != section.size or crc32(stored) != section.crc:
        raise ValueError(f"crc of section {section.table or 'frames'} is wrong")


def unpack_section(section: Section, stored: bytes) -> bytes:
    """The plain bytes of a section.

    Raises:
        ValueError: its CRC or its compression says it is damaged.
    """
    check_section(section, stored)
    if section.size == section.raw_size:
        return stored
    try:
        return zstandard.ZstdDecompressor().decompress(stored, max_output_size=section.raw_size)
    except zstandard.ZstdError as error:
        raise ValueError(f"section {section.table or 'frames'}: {error}") from error
