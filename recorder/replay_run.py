"""One journal replayed: every block counted, and those that differ corrected in pieces of a bounded size."""

from collections.abc import Callable

import msgspec

from recorder.errors import RowRejected
from recorder.journal_reader import JournalReader
from recorder.position import Position
from recorder.replay import Account, Redone, Skipped, redo
from recorder.store_replay import Applied, ReplayStore
from recorder.venues.base import Session

_PIECE_BYTES = 8 << 20
_PIECE_BLOCKS = 2000


class Request(msgspec.Struct, frozen=True):
    """What to replay.

    Attributes:
        new_session: Gives the decoder of a new connection of the journal's venue.
        from_ns: Only blocks written from then on.
        until_ns: Only blocks written before.
        examples: Rows to keep of each kind of difference.
    """

    new_session: Callable[[], Session]
    from_ns: int = 0
    until_ns: int | None = None
    examples: int = 3


class Correction:
    """Blocks on their way into the store."""

    def __init__(self, store: ReplayStore, account: Account) -> None:
        self.applied = Applied()
        self.not_loaded = 0  # blocks that differ, and that the writer has yet to load
        self._store = store
        self._account = account
        self._piece: list[Redone] = []
        self._size = 0

    def take(self, block: Redone) -> None:
        """Put a block into the next piece, when there is anything to do about it."""
        until = self._store.loaded_until
        if until is None or block.position >= until:
            self.not_loaded += block.differs
            return
        if not (block.differs or self._store.replayed(block.position)):
            return
        if self._piece and self._piece[0].position.segment != block.position.segment:
            self.flush()
        self._piece.append(block)
        self._size += sum(map(len, (*block.now.values(), *block.before.values())))
        if self._size >= _PIECE_BYTES or len(self._piece) >= _PIECE_BLOCKS:
            self.flush()

    def flush(self) -> None:
        """Apply the piece."""
        piece, self._piece, self._size = self._piece, [], 0
        if piece:
            self._apply(piece)

    def _apply(self, piece: list[Redone]) -> None:
        """Apply a piece; where Postgres refuses a row of it, only the block that has the row is left out."""
        try:
            self.applied.add(self._store.apply(piece))
        except RowRejected as error:
            if len(piece) == 1:
                self._account.skip(Skipped(piece[0].position, f"not applied, Postgres refuses a row of it: {error}"))
                return
            middle = len(piece) // 2
            self._apply(piece[:middle])
            self._apply(piece[middle:])


def replay(
    reader: JournalReader, request: Request, store: ReplayStore | None, progress: Callable[[Position], None]
) -> tuple[Account, Correction | None]:
    """Decode a journal again, and correct what is stored of it when there is a store.

    Args:
        reader: The journal.
        request: What of it, and how.
        store: Where to apply the difference; None only counts it.
        progress: Is told how far it is.

    Raises:
        StoreUnavailable: the database went away; whole pieces are applied, and another run goes on from there.
    """
    account = Account(reader.folder.name, reader.venue)
    correction = None if store is None else Correction(store, account)
    for item in redo(reader, request.new_session, request.from_ns, request.until_ns):
        account.add(item, request.examples)
        if correction is not None and isinstance(item, Redone):
            correction.take(item)
        progress(item.position)
    if correction is not None:
        correction.flush()
    return account, correction
