"""The bytes of a journal block: what one flush writes, completely or not at all.

    prefix   magic "TDBK", header bytes, body bytes, CRC-32 of (the rest of these, header), block number, incarnation
    header   msgpack of BlockHeader
    body     frames section (zstd), then one section a table: binary COPY tuples, zstd where that pays

Each section has a CRC-32 of its own, so that damage in one leaves the others readable. A segment file
begins with FILE_HEADER and a checkpoint: a block that names every stream.

Each start of a journal is an incarnation. Blocks are numbered on from one incarnation to the next, and an incarnation
names its predecessor and the last block of that: a reader can prove that a block is the successor of another.
"""

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from zlib import crc32

import msgspec
import zstandard

from recorder.errors import JournalError
from recorder.events import Channel, Gap, SessionRow
from recorder.position import Position

FILE_MAGIC = b"TAPEDK02"
OLDER_MAGIC = b"TAPEDK01"  # without incarnations; written before the first release
# magic, journal id, segment number, incarnation, its predecessor, that one's last block and end (segment, offset), CRC
FILE_HEADER = struct.Struct("<8s16sIQQQIQI")
MAGIC = b"TDBK"
PREFIX = struct.Struct("<4sIIIQQ")
_CHECKED = struct.Struct("<4sIIQQ")
LARGEST_HEADER = 1 << 26
LARGEST_BODY = 1 << 30
_WORTH_COMPRESSING = 512
_UNNAMED = -1  # size of a zstd frame that does not name it
# Fewer and longer matches than level -1 looks for, because compression is a seventh of the recorder's CPU. On the feed
# of the bench target_length 4 took a third less CPU than 2, for blocks that are 18 % larger; on captures of Kraken and
# Binance up to a fifth less, for frames that are 9 to 20 % larger (2026-11-30, on a busy machine). A window of 128 KiB
# stays in the processor's cache: a seventh less CPU than the 512 KiB of the level, for blocks that are 3 % larger.
_COMPRESSION = zstandard.ZstdCompressionParameters.from_level(
    -1, window_log=17, min_match=7, hash_log=13, target_length=4
)


class StreamCheckpoint(msgspec.Struct, array_like=True, gc=False):
    """The state of a stream when a block was written; the latest checkpoint of a stream is its state."""

    symbol: str
    channel: Channel
    session_id: int | None
    watched: bool  # whether it was subscribed
    last_id: int | None
    last_ts_event_ns: int | None
    first_id: int | None  # first of this block
    first_ts_event_ns: int | None
    since_ns: int  # when it was first subscribed
    gap: Gap | None  # the gap that is open
    reset_id: int | None = None  # newest id before the venue restarted its ids, and the newest time then
    reset_ts_event_ns: int | None = None
    ahead_ts_event_ns: int | None = None  # the latest stamp that was too far ahead to be remembered as a time
    missing: tuple[Gap, ...] | None = None  # gaps whose ids may still come; None where they are as they were before


def note_checkpoints(known: dict[tuple[str, str], StreamCheckpoint], checkpoints: Iterable[StreamCheckpoint]) -> None:
    """Note the checkpoints of a block as the state of their streams; `missing` stays where one leaves it out.

    Args:
        known: The latest checkpoint of each stream, by symbol and channel.
        checkpoints: Of the next block.
    """
    for one in checkpoints:
        stream = (one.symbol, one.channel)
        before = known.get(stream)
        if one.missing is None and before is not None and before.missing:
            one = msgspec.structs.replace(one, missing=before.missing)
        known[stream] = one


class Lineage(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An incarnation of a journal, and where it continues."""

    incarnation: int  # random, positive, 63 bits
    predecessor: int = 0  # the incarnation of the last block that the folder held; 0: it held none
    predecessor_block: int = 0  # number of that block
    predecessor_end: Position = Position(0, 0)  # where that block ended


class Run(msgspec.Struct, array_like=True, gc=False):
    """Consecutive frames of one session in the frames section."""

    session_id: int
    first_seq: int  # number of the first frame in its session
    count: int
    last_ns: int  # receipt of the session's latest frame, kept or not
    totals: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)  # as SessionRow.totals, at the end of the run


def counted(session: SessionRow, run: Run) -> SessionRow:
    """Return a session's row with its counters as they were at the end of a run."""
    names = ("bytes", "trades", "quotes", "books", "quarantined")
    counts = dict(zip(names, run.totals, strict=True))
    frames = max(session.frames, run.first_seq + run.count - 1)
    return msgspec.structs.replace(session, last_frame_ns=run.last_ns, frames=frames, **counts)


class Section(msgspec.Struct, array_like=True, gc=False):
    """One part of the body."""

    table: str  # "" is the frames section
    rows: int
    size: int  # bytes in the body
    raw_size: int  # bytes once decompressed; equal to `size` where it is stored uncompressed
    crc: int  # of the bytes in the body
    days: tuple[int, ...]  # days since 1970 of the partition key; () where the table has no partitions


class BlockHeader(msgspec.Struct, array_like=True, gc=False):
    """What a block holds."""

    written_ns: int
    runs: list[Run]
    sections: list[Section]
    checkpoints: list[StreamCheckpoint]  # of the streams that changed; in a checkpoint block of all
    sessions: list[SessionRow] = []  # rows of this block; in a checkpoint block those of all open sessions
    checkpoint: bool = False  # whether the block begins a segment and names everything
    venue: str = ""  # in a checkpoint
    recorder: str = ""  # in a checkpoint
    columns: dict[str, tuple[str, ...]] = {}  # in a checkpoint: table -> its columns in COPY order
    lineage: Lineage | None = None  # in a checkpoint, as in the file header: one of the two survives a wrong bit
    state: bytes = b""  # of a program that is no recorder, after this block; the program knows its encoding


class Frame(msgspec.Struct, gc=False):
    """One journalled frame."""

    session_id: int
    seq: int
    ts_recv_ns: int
    payload: bytes


_encode_header = msgspec.msgpack.Encoder().encode
_decode_header = msgspec.msgpack.Decoder(BlockHeader).decode


Receipt = tuple[int, int]
"""A time of receipt, and how many frames arrived then: one read of the socket."""


def encode_frames(payloads: Iterable[bytes], lengths: bytes, receipts: Sequence[Receipt]) -> bytes:
    """Return the bytes of a frames section: receipts, lengths, payloads. Columns compress better than records.

    Args:
        payloads: All frames, in any number of pieces.
        lengths: Of each frame, as an array of unsigned int.
        receipts: Their counts add up to the number of frames.
    """
    numbers = array("q", [number for receipt in receipts for number in receipt])
    return b"".join((len(receipts).to_bytes(4, sys.byteorder), numbers.tobytes(), lengths, *payloads))


def decode_frames(runs: Sequence[Run], raw: bytes) -> list[Frame]:
    """Return the frames of a block.

    Raises:
        ValueError: the section does not hold what its runs describe.
    """
    count = sum(run.count for run in runs)
    numbers, lengths = array("q"), array("I")
    offset = 4 + 16 * int.from_bytes(raw[:4], sys.byteorder)
    numbers.frombytes(raw[4:offset])
    lengths.frombytes(raw[offset : offset + 4 * count])
    offset += 4 * count
    if sum(numbers[1::2]) != count or min(numbers[1::2], default=0) < 0:  # checked before that many are made
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
    """Builds the bytes of blocks. One per thread: a zstd context cannot be shared.

    Args:
        level: Of zstd; None is what the hot path of a recorder can afford.
    """

    def __init__(self, level: int | None = None) -> None:
        parameters = _COMPRESSION if level is None else zstandard.ZstdCompressionParameters.from_level(level)
        self._compress = zstandard.ZstdCompressor(compression_params=parameters).compress

    def section(self, table: str, rows: int, raw: bytes, days: tuple[int, ...]) -> tuple[Section, bytes]:
        """Return a section and its bytes."""
        stored = self._compress(raw) if len(raw) >= _WORTH_COMPRESSING else raw
        if len(stored) >= len(raw):
            stored = raw
        return Section(table, rows, len(stored), len(raw), crc32(stored), days), stored

    def block(self, incarnation: int, seq: int, header: BlockHeader, bodies: Sequence[bytes]) -> bytes:
        """Return the bytes of a block."""
        packed = _encode_header(header)
        body_size = sum(section.size for section in header.sections)
        crc = crc32(packed, crc32(_CHECKED.pack(MAGIC, len(packed), body_size, seq, incarnation)))
        return b"".join((PREFIX.pack(MAGIC, len(packed), body_size, crc, seq, incarnation), packed, *bodies))


def encode_file_header(journal_id: str, segment: int, lineage: Lineage) -> bytes:
    """Return the first bytes of a segment."""
    end = lineage.predecessor_end
    places = lineage.incarnation, lineage.predecessor, lineage.predecessor_block, end.segment, end.offset
    head = FILE_HEADER.pack(FILE_MAGIC, bytes.fromhex(journal_id), segment, *places, 0)
    return head[:-4] + crc32(head[:-4]).to_bytes(4, "little")


def parse_file_header(head: bytes) -> tuple[str, Lineage] | None:
    """Return the identity of the journal and the incarnation of a segment; None where its header shows damage.

    Raises:
        JournalError: the segment has the format of an earlier version.
    """
    if head.startswith(OLDER_MAGIC):
        raise JournalError("was written by a version before the first release; move the journal's folder away")
    if len(head) != FILE_HEADER.size or crc32(head[:-4]) != int.from_bytes(head[-4:], "little"):
        return None
    _, journal_id, _, incarnation, predecessor, last_block, segment, offset, _ = FILE_HEADER.unpack(head)
    return journal_id.hex(), Lineage(incarnation, predecessor, last_block, Position(segment, offset))


def parse_prefix(data: bytes) -> tuple[int, int, int, int, int] | None:
    """Return (header bytes, body bytes, crc, block number, incarnation) of a prefix; None where it cannot be one."""
    magic, header_size, body_size, crc, seq, incarnation = PREFIX.unpack(data)
    if magic != MAGIC or body_size > LARGEST_BODY or header_size > LARGEST_HEADER:
        return None
    return header_size, body_size, crc, seq, incarnation


def parse_header(packed: bytes, body_size: int, crc: int, seq: int, incarnation: int) -> BlockHeader | None:
    """Return the header; None where its CRC or its shape shows damage."""
    if crc32(packed, crc32(_CHECKED.pack(MAGIC, len(packed), body_size, seq, incarnation))) != crc:
        return None
    try:
        return _decode_header(packed)
    except msgspec.MsgspecError:
        return None


def check_section(section: Section, stored: bytes) -> None:
    """Check the CRC of a section.

    Raises:
        ValueError: the section is damaged.
    """
    if len(stored) != section.size or crc32(stored) != section.crc:
        raise ValueError(f"crc of section {section.table or 'frames'} is wrong")


def unpack_section(section: Section, stored: bytes) -> bytes:
    """Return the uncompressed bytes of a section.

    Raises:
        ValueError: its CRC or its compression shows damage, or it would take more memory than its header says.
    """
    check_section(section, stored)
    if section.size == section.raw_size:
        return stored
    try:
        # The library reserves the size that the compressed bytes name, and ignores `max_output_size` where they do.
        size = zstandard.frame_content_size(stored)
        if section.raw_size > LARGEST_BODY or size not in (section.raw_size, _UNNAMED):
            raise ValueError(f"section {section.table or 'frames'} is larger than its header says")
        raw = zstandard.ZstdDecompressor().decompress(stored, max_output_size=section.raw_size)
    except zstandard.ZstdError as error:
        raise ValueError(f"section {section.table or 'frames'}: {error}") from error
    if len(raw) != section.raw_size:
        raise ValueError(f"section {section.table or 'frames'} is shorter than its header says")
    return raw
