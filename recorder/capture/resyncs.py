"""When a fresh book may be requested: at once the first time, ever later for one that keeps failing. Pure."""

import msgspec

FIRST_S = 2.0  # a request has this long to bring its snapshot
CAP_S = 300.0
COOLDOWN_S = 600.0  # a book that was good for this long begins with short waits again
LOOP = 5
"""A book that needed so many requests within that time will not come right by itself."""


class _Request(msgspec.Struct):
    attempts: int = 0
    due_s: float = 0.0
    open: bool = False
    done_s: float = 0.0


class Resyncs:
    """Requests for fresh books of one session. A venue that always fails its checksum is not hammered."""

    def __init__(self) -> None:
        self._requests: dict[str, _Request] = {}

    def request(self, symbol: str, now_s: float, grace_s: float = 0.0) -> None:
        """Note that a book needs a fresh snapshot; a repetition changes nothing while it has none.

        Args:
            symbol: Of the book.
            now_s: Monotonic.
            grace_s: How long the snapshot may still arrive by itself.
        """
        request = self._requests.setdefault(symbol, _Request())
        if not request.open:
            request.open = True
            if now_s - request.done_s > COOLDOWN_S:
                request.attempts = 0
            request.due_s = max(request.due_s if request.attempts else now_s, now_s + grace_s)

    def done(self, symbol: str, now_s: float) -> None:
        """Note that the snapshot arrived."""
        request = self._requests.get(symbol)
        if request is not None and request.open:
            request.open, request.done_s = False, now_s

    def forget(self, symbol: str) -> None:
        """Forget a book that is not subscribed any more: nothing will bring it, and that is no fault."""
        self._requests.pop(symbol, None)

    def looping(self, now_s: float) -> list[str]:
        """Return the symbols that were requested LOOP times without being good for COOLDOWN_S in between."""
        return [
            symbol
            for symbol, one in list(self._requests.items())  # another thread reports
            if one.attempts >= LOOP and (one.open or now_s - one.done_s <= COOLDOWN_S)
        ]

    def due(self, now_s: float) -> list[str]:
        """Return the symbols to request now; each comes again only after a doubled wait."""
        due = [symbol for symbol, request in self._requests.items() if request.open and now_s >= request.due_s]
        for symbol in due:
            request = self._requests[symbol]
            request.due_s = now_s + min(CAP_S, FIRST_S * 2.0 ** min(request.attempts, 16))
            request.attempts += 1
        return due
