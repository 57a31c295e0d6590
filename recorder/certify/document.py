"""The document of a certificate: what is known of one stream in one UTC hour, and hashes of what it rests on. Pure.

Its hash is the SHA-256 of its JSON with an empty hash, the keys in the order of the fields. It names the hash of the
certificate of the same stream that was made before it, so the certificates of a stream are a chain.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from recorder.errors import ConfigError
from recorder.events import Channel, GapState

FORMAT = 1
HOUR_US = 3600 * 10**6

Grade = Literal["proved", "witnessed", "consistent", "claimed", "holed"]
GRADES: tuple[Grade, ...] = ("proved", "witnessed", "consistent", "claimed", "holed")
Replayed = Literal["equal", "differs", "not made"]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a document. Unknown keys are refused, because no check reads them."""


class Rows(_Strict, frozen=True, kw_only=True):
    """The rows of the hour.

    Attributes:
        stored: Rows in the database.
        distinct: Trades with an id of their own; of quotes and books the number of rows.
        duplicates: Rows that the frames gave once more and that were stored once.
        healed: Rows that came from the history of the venue.
        first_id: Lowest trade id of the hour.
        last_id: Highest trade id of the hour.
        before_id: Highest trade id before the hour; None where none is stored.
        after_id: Lowest trade id after the hour; None where none is stored yet.
        strays: Trades with an id between the first and the last of the hour, and a time outside of it.
        sha256: Of all rows as Postgres' binary COPY writes them, in the order of their bytes; of trades without
            ts_recv, because two sessions may have received one trade.
    """

    stored: int
    distinct: int
    duplicates: int
    healed: int
    first_id: int | None
    last_id: int | None
    before_id: int | None
    after_id: int | None
    strays: int
    sha256: str


class GapFact(_Strict, frozen=True, kw_only=True):
    """A gap that touches the hour. Times are microseconds since 1970."""

    gap_id: int
    revision: int
    cause: str
    state: GapState
    reason: str | None
    last_id: int | None
    first_id: int | None
    from_us: int
    until_us: int | None


class BookChecks(_Strict, frozen=True, kw_only=True):
    """Sums of the audits of a book that ended in the hour."""

    checksums_passed: int = 0
    checksums_failed: int = 0
    crossed: int = 0
    resyncs: int = 0


class CandleFacts(_Strict, frozen=True, kw_only=True):
    """What the candles of the venue say of the minutes of an hour of trades.

    Attributes:
        equal: Minutes whose candle is that of the trades.
        differing: Minutes whose candle is another one; of the others nothing is known.
        differences: The first of them, in words.
    """

    equal: int
    differing: int
    differences: list[str]


class SegmentHash(_Strict, frozen=True, kw_only=True):
    """A segment of a journal, or its beginning."""

    segment: Annotated[int, msgspec.Meta(ge=1, le=99_999_999)]
    bytes: Annotated[int, msgspec.Meta(ge=0)]
    sha256: str


class JournalFact(_Strict, frozen=True, kw_only=True):
    """The part of a journal that a certificate rests on.

    Attributes:
        feed: Whose frames it holds, as settings name it; empty of the poller's journal, which holds past trades.
    """

    journal_id: str
    recorder: str
    feed: str
    segments: list[SegmentHash]


class Certificate(_Strict, frozen=True, kw_only=True):
    """One certificate.

    Attributes:
        tapedeck_certificate: Version of this format.
        feed: The feed of the venue by whose rules it is graded, as settings name it.
        hour: Begin of the hour, such as 2026-12-01T05:00:00Z.
        number: 1, 2, ... in the order in which the certificates of a stream were made.
        revision: 1, 2, ... of this hour.
        reasons: Why it has this grade, in words.
        program: Version of tapedeck that made it.
        decoder: The class that decodes the frames.
        book_depth: Levels a side that were requested; 0 where the venue offers no choice.
        watched_from_us: Since when the stream was subscribed, microseconds since 1970; None where no journal says.
        frames: Frames that the sessions of the stream received in the hour.
        sessions: Sessions that carried the stream in the hour.
        witnesses: How often REST gave each verdict on the stream in the hour.
        least_delay_us: Least of receipt minus venue time over the rows, microseconds: negative where the clocks differ;
            None where no row has a time of the venue.
        quarantined: Frames of these sessions in the hour that could not be decoded.
        damaged: Blocks of the journal in the range that cannot be read.
        read_until_us: Blocks of the journals that were written before this time count, microseconds since 1970.
        replay: Whether the frames, decoded again, give the stored rows.
        differences: The first rows that differ, in words.
        candles: What the candles of the venue say of trades whose ids prove nothing; left out where none was read.
        previous: Hash of the certificate of this stream made before; None of the first.
        sha256: Hash of this document.
    """

    tapedeck_certificate: int = FORMAT
    venue: str
    feed: str
    symbol: str
    instrument_id: int
    channel: Channel
    hour: str
    number: int = 0
    revision: int = 0
    grade: Grade
    reasons: list[str]
    made_at: str = ""
    program: str
    decoder: str
    book_depth: int
    watched_from_us: int | None
    rows: Rows
    frames: int
    sessions: list[int]
    gaps: list[GapFact]
    book: BookChecks
    witnesses: dict[str, int]
    least_delay_us: int | None
    quarantined: int
    damaged: int
    read_until_us: int
    replay: Replayed
    differences: list[str]
    journals: list[JournalFact]
    candles: CandleFacts | msgspec.UnsetType = msgspec.UNSET
    previous: str | None = None
    sha256: str = ""

    @property
    def name(self) -> str:
        """The stream and the hour, for a person."""
        return f"{self.venue} {self.symbol} {self.channel} {self.hour}"

    @property
    def begin_us(self) -> int:
        """Begin of the hour, microseconds since 1970."""
        return int(datetime.fromisoformat(self.hour).timestamp()) * 10**6


_encode = msgspec.json.Encoder(order="deterministic").encode
_decoder = msgspec.json.Decoder(Certificate)


def encode(certificate: Certificate) -> bytes:
    """Return the document as one line of JSON."""
    return _encode(certificate)


def digest(certificate: Certificate) -> str:
    """Return the hash that the document must have."""
    return hashlib.sha256(_encode(msgspec.structs.replace(certificate, sha256=""))).hexdigest()


def sealed(certificate: Certificate, *, number: int, revision: int, previous: str | None, made_at: str) -> Certificate:
    """Return a certificate with its place in the chain and its hash."""
    placed = msgspec.structs.replace(
        certificate, number=number, revision=revision, previous=previous, made_at=made_at, sha256=""
    )
    return msgspec.structs.replace(placed, sha256=digest(placed))


def decode(data: bytes | str) -> Certificate:
    """Return the certificate in a document. Its hash is not checked.

    Raises:
        ConfigError: It is no certificate of this format.
    """
    try:
        found = _decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ConfigError(f"it is no certificate: {error}") from None
    if found.tapedeck_certificate != FORMAT:
        raise ConfigError(f"it has format {found.tapedeck_certificate}; this program reads format {FORMAT}")
    try:
        is_hour = found.hour == hour_text(found.begin_us) and found.begin_us % HOUR_US == 0
    except (ValueError, OverflowError):
        is_hour = False
    if not is_hour:
        raise ConfigError(f"{found.hour!r} is not a UTC hour such as 2026-12-01T05:00:00Z")
    return found


def decode_all(data: bytes) -> list[Certificate]:
    """Return the certificates of a file: one document a line, one document, or a JSON array of them.

    Raises:
        ConfigError: It holds something else, or nothing.
    """
    text = data.strip()
    if not text:
        raise ConfigError("it is empty")
    if not text.startswith(b"["):
        lines = text.splitlines() if text.endswith(b"}") and b"\n{" in text else [text]
        return [decode(line) for line in lines if line.strip()]
    try:
        return [decode(bytes(item)) for item in msgspec.json.decode(text, type=list[msgspec.Raw])]
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ConfigError(f"it is no list of certificates: {error}") from None


def same_facts(old: Certificate, new: Certificate) -> bool:
    """Return whether nothing that was known changed.

    A certificate that was made without decoding the frames again does not replace one with that verdict. Which parts of
    the journal were read is no fact about the hour.
    """
    if new.replay == "not made" and old.replay != "not made":
        new = msgspec.structs.replace(new, replay=old.replay, differences=old.differences)
        if old.channel == "book":  # the frames show more of a book than what was counted while recording
            new = msgspec.structs.replace(new, book=old.book, grade=old.grade, reasons=old.reasons)
        if old.replay == "differs":
            new = msgspec.structs.replace(new, grade=old.grade, reasons=old.reasons)
    return _facts(old) == _facts(new)


def chain_faults(certificates: Mapping[int, Certificate]) -> dict[int, str]:
    """Return what is wrong with the chain of some certificates of one stream, both by their number.

    Certificates that are missing between two of them are no fault: only neighbours can be compared.
    """
    faults = {}
    for number, one in certificates.items():
        before = certificates.get(number - 1)
        if before is not None and one.previous != before.sha256:
            faults[number] = f"it does not name certificate {number - 1} of its stream as the one before it"
        elif (number == 1) != (one.previous is None):
            faults[number] = "only the first certificate of a stream has none before it"
    return faults


def hour_text(begin_us: int) -> str:
    """Return the name of an hour from its begin in microseconds since 1970."""
    return datetime.fromtimestamp(begin_us // 10**6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _facts(one: Certificate) -> bytes:
    return _encode(
        msgspec.structs.replace(
            one, number=0, revision=0, previous=None, made_at="", sha256="", program="", read_until_us=0, journals=[]
        )
    )
