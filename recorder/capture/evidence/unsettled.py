"""Quotes and books between the decoder and the accounting of their streams."""

from collections.abc import Mapping

from recorder.capture.continuity import Continuity, StreamState
from recorder.events import Book, Quote


class Unsettled:
    """Quotes and books of a chunk that continuity has not seen yet; it sees them together, which costs less.

    Attributes:
        strangers: Whether some are of symbols that the session never subscribed to.
    """

    __slots__ = ("_books", "_continuity", "_quotes", "_seen_books", "_seen_quotes", "strangers")

    def __init__(
        self,
        continuity: Continuity,
        quotes: tuple[Mapping[str, StreamState], list[Quote]],
        books: tuple[Mapping[str, StreamState], list[Book]],
    ) -> None:
        """
        Args:
            continuity: Sees them.
            quotes, books: The streams of the session, and what came of them in this chunk.
        """
        self.strangers = False
        self._continuity = continuity
        self._quotes = quotes
        self._books = books
        self._seen_quotes = self._seen_books = 0

    def settle(self) -> None:
        """Account for all that came so far; needed before anything that breaks a stream."""
        saw = self._continuity.saw
        (quote_states, quotes), (book_states, books) = self._quotes, self._books
        if not (saw(quote_states, quotes[self._seen_quotes :]) and saw(book_states, books[self._seen_books :])):
            self.strangers = True
        self._seen_quotes, self._seen_books = len(quotes), len(books)
