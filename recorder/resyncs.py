"""When a fresh book may be asked for: at once the first time, ever later for one that keeps failing. Pure."""

import msgspec

FIRST_S = 2.0  # a request is given this long to bring its snapshot
CAP_S = 300.0
CALM_S = 600.0  # a book that stood this long is forgiven


class _Wish(msgspec.Struct):
    attempts: int = 0
    due_s: float = 0.0
    open: bool = False
    done_s: float = 0.0


class Resyncs:
    """Requests for fresh books of one link. A venue that always fails its checksum is not hammered."""

    def __init__(self) -> None:
        self._wishes: dict[str, _Wish] = {}

    def want(self, symbol: str, now_s: float, grace_s: float = 0.0) -> None:
        """A book needs a fresh snapshot; said again while it has none, it changes nothing.

        Args:
            symbol: Whose book.
            now_s: Now.
            grace_s: How long it may still come by itself.
        """
        wish = self._wishes.setdefault(symbol, _Wish())
        if not wish.open:
            wish.open = True
            if now_s - wish.done_s > CALM_S:
                wish.attempts = 0
            wish.due_s = max(wish.due_s if wish.attempts else now_s, now_s + grace_s)

    def done(self, symbol: str, now_s: float) -> None:
        """The snapshot came."""
        wish = self._wishes.get(symbol)
        if wish is not None and wish.open:
            wish.open, wish.done_s = False, now_s

    def due(self, now_s: float) -> list[str]:
        """Symbols to ask for now; each is due again only after a doubled wait."""
        due = [symbol for symbol, wish in self._wishes.items() if wish.open and now_s >= wish.due_s]
        for symbol in due:
            wish = self._wishes[symbol]
            wish.due_s = now_s + min(CAP_S, FIRST_S * 2.0 ** min(wish.attempts, 16))
            wish.attempts += 1
        return due

    def clear(self) -> None:
        """A new session brings snapshots by itself."""
        for wish in self._wishes.values():
            wish.open = False
