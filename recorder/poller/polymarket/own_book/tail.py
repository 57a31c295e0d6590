"""Follows the journal of a recorder: rows of books, gaps, the state of streams, and the news of the venue.

The recorder does nothing for it: it writes its blocks for the writer anyway. Blocks are read without the rows of trades
and quotes, and only rows of wanted tokens are decoded.
"""

from pathlib import Path

from recorder.errors import JournalError
from recorder.journal.block import FILE_HEADER, BlockHeader
from recorder.journal.reader import Damaged, JournalReader, StoredBlock, segments
from recorder.pgcopy import decode, encode
from recorder.pgcopy.scalars import PG_EPOCH_US
from recorder.poller.polymarket.own_book.books import OwnBooks
from recorder.poller.polymarket.own_book.news import News
from recorder.poller.polymarket.own_book.rows import messages
from recorder.position import Position

_BATCH = 8 << 20
_ALL = 1 << 62
_BOOK_CHANNEL = b"book"
_GAP_INSTRUMENT, _GAP_CHANNEL, _GAP_ENDED = (
    encode.COLUMNS["gap"].index(name) for name in ("instrument_id", "channel", "ended_at")
)


class JournalTail:
    """One journal that is followed from its end on.

    Args:
        folder: Of the journal, which may not exist yet.
        books: Receives what it says. The caller holds their lock.
        news: Receives what the venue announced.
    """

    def __init__(self, folder: Path, books: OwnBooks, news: News) -> None:
        self.books = books
        self._folder = folder
        self._news = news
        self._reader: JournalReader | None = None
        self._place = Position(0, 0)
        self._last = (0, 0)  # incarnation and number of the last block
        self._written_ns = 0

    def read(self) -> bool:
        """Read what was written since the last call, up to some megabytes; return whether that was all.

        Raises:
            JournalError, OSError: the journal cannot be read, or is another one now. The next call begins again.
        """
        reader = self._reader
        if reader is None:
            return self._begin()
        try:
            before = self._place
            for item in reader.read(self._place, _BATCH, bodies=False):
                self._place = item.next
                if isinstance(item, Damaged):
                    self._last = (0, 0)
                else:
                    self._block(reader, item)
            if self._place == before:
                if reader.replaced(self._place):
                    raise JournalError(f"another journal is in {self._folder} now")
                return True
            return False
        except (JournalError, OSError):
            self.close()
            raise

    def close(self) -> None:
        """Forget all, and close the file."""
        if self._reader is not None:
            self._reader.close()
        self._reader = None
        self._last = (0, 0)
        self.books.lost(self._written_ns)

    def _begin(self) -> bool:
        """Read the headers of the newest segment, whose first block names every stream."""
        numbers = segments(self._folder)
        if not numbers:
            return True
        self._reader = JournalReader(self._folder)
        try:
            self._place = Position(numbers[-1], FILE_HEADER.size)
            for item in self._reader.read(self._place, _ALL, bodies=False):
                self._place = item.next
                if isinstance(item, Damaged):
                    self._last = (0, 0)
                else:
                    self._follows(item)
                    self._streams(item.header)
        except (JournalError, OSError):
            self.close()
            raise
        return False

    def _block(self, reader: JournalReader, block: StoredBlock) -> None:
        if not self._follows(block):
            return
        header = block.header
        try:
            part = reader.part_of(block, "book")
            if part is not None and self.books.wanted:
                data = decode.conform(part.data, part.columns, encode.COLUMNS["book"])
                for message in messages(data, self.books.wanted):
                    self.books.apply(message)
            self._gaps(reader, block)
            if self._news.occurs(reader.frames_section(block)):
                for frame in reader.frames_of(block):
                    self._news.read(frame.payload)
        except ValueError:  # damaged: what it says of which token is not known
            self.books.lost(header.written_ns)
        self._streams(header)

    def _follows(self, block: StoredBlock) -> bool:
        """Return whether a block is new. Where others are missing before it, everything is forgotten."""
        incarnation, seq = self._last
        if incarnation == block.incarnation and block.seq <= seq:
            return False
        if (incarnation, seq + 1) != (block.incarnation, block.seq):
            self.books.lost(block.header.written_ns)
        self._last = block.incarnation, block.seq
        self._written_ns = block.header.written_ns
        return True

    def _streams(self, header: BlockHeader) -> None:
        for run in header.runs:
            self.books.heard(run.session_id, run.last_ns)
        for checkpoint in header.checkpoints:
            self.books.stream(checkpoint, header.written_ns)

    def _gaps(self, reader: JournalReader, block: StoredBlock) -> None:
        part = reader.part_of(block, "gap")
        if part is None:
            return
        for row in decode.split(decode.conform(part.data, part.columns, encode.COLUMNS["gap"])):
            fields = decode.fields(row)
            if fields[_GAP_CHANNEL][4:] == _BOOK_CHANNEL:
                ended = fields[_GAP_ENDED]
                ended_ns = None if decode.is_null(ended) else (decode.number(ended) + PG_EPOCH_US) * 1000
                self.books.gap(decode.number(fields[_GAP_INSTRUMENT]), ended_ns, block.header.written_ns)
