"""Faults of a simulated venue on request: one method per action. recorder/simulator/actions.py offers them."""

import time
from collections.abc import Callable
from typing import Literal

import msgspec

from recorder.errors import ConfigError
from recorder.events import CHANNELS
from recorder.simulator.actions import Actions
from recorder.simulator.connection import Connection, Pace
from recorder.simulator.faults import HISTORY_KINDS, HISTORY_LOOP, Rule, SpoiledHistory, history_rule
from recorder.simulator.malformed import KINDS, malformed_frame, oversized
from recorder.simulator.server import Server
from recorder.simulator.venue import FakeVenue


class Controls(Actions):
    """The actions of one simulated venue: its own `do_NAME` methods and those below."""

    def __init__(self, venue: FakeVenue, server: Server) -> None:
        super().__init__(server, venue.truth, venue.faults, (venue,))
        self._venue = venue
        venue.control = self.http

    # ---- connections

    def do_close(
        self, how: Literal["rst", "fin", "frame", "torn"] = "rst", connection: int | None = None
    ) -> dict[str, object]:
        """End connections: TCP reset, bare FIN, a websocket close frame (code 1001), or a frame torn in half."""
        endings: dict[str, Callable[[Connection], None]] = {
            "rst": Connection.abort,
            "fin": Connection.finish,
            "torn": Connection.tear,
            "frame": lambda one: one.goodbye(1001),
        }
        if how not in endings:
            raise ConfigError(f"close: how is one of {', '.join(endings)}, not {how!r}")
        chosen = self._chosen(connection)
        for one in chosen:
            endings[how](one)
        return {"connections": len(chosen)}

    def do_half_open(self, connection: int | None = None, next_ones: int = 0) -> dict[str, object]:
        """Stop reading and writing all open connections, and the next `next_ones` once they opened; close none."""
        chosen = self._chosen(connection)
        for one in chosen:
            one.half_open = True
        if next_ones:
            self._venue.faults.add(Rule("half_open", left=int(next_ones)))
        return {"connections": len(chosen)}

    def do_slow(self, chunk: int = 100, every_s: float = 0.05, connection: int | None = None) -> dict[str, object]:
        """Send at most `chunk` bytes every `every_s` seconds; chunk 0 ends this."""
        chosen = self._chosen(connection)
        for one in chosen:
            one.pace = Pace(int(chunk), float(every_s)) if chunk else None
        return {"connections": len(chosen)}

    def do_fragment(self, largest: int = 50, pings: bool = True, connection: int | None = None) -> dict[str, object]:
        """Cut messages into random fragments of at most `largest` bytes, with pings between; largest 0 ends this."""
        chosen = self._chosen(connection)
        for one in chosen:
            one.cut_at, one.cut_pings = (int(largest) or None), bool(pings)
        return {"connections": len(chosen)}

    def do_refuse_handshake(
        self, status: int = 503, times: int | None = None, retry_after: str = ""
    ) -> dict[str, object]:
        """Answer websocket handshakes with an HTTP status; until healed unless `times` is given."""
        self._rule("refuse_handshake", None, None, times, text=retry_after, count=int(status))
        return {}

    def do_refuse(
        self, channel: str | None = None, symbol: str | None = None, times: int | None = None, reason: str = ""
    ) -> dict[str, object]:
        """Refuse new subscriptions of a channel (trade, quote, book) and symbol."""
        self._rule("refuse", channel, symbol, times, text=reason)
        return {}

    # ---- data

    def do_freeze(self, symbol: str | None = None, channel: str | None = None) -> dict[str, object]:
        """Send no data of a symbol or channel, while heartbeats and pongs continue; `heal` ends this."""
        self._rule("freeze", channel, symbol, None)
        return {}

    def do_skip(self, times: int = 1, symbol: str | None = None, channel: str = "trade") -> dict[str, object]:
        """Leave out the next trades, quotes or book messages."""
        self._rule("skip", channel, symbol, times)
        return {}

    def do_repeat(self, times: int = 1, symbol: str | None = None, channel: str = "trade") -> dict[str, object]:
        """Send the next trades, quotes or book messages twice."""
        self._rule("repeat", channel, symbol, times)
        return {}

    def do_reorder(self, times: int = 1, symbol: str | None = None) -> dict[str, object]:
        """Send the next trade after the one that follows it."""
        self._rule("reorder", "trade", symbol, times)
        return {}

    def do_reset_ids(self, symbol: str, first: int = 1) -> dict[str, object]:
        """Number the trades of a symbol from `first` on again."""
        if symbol not in self._venue.symbols:
            raise ConfigError(f"no symbol {symbol!r}; the symbols are: {', '.join(self._venue.symbols)}")
        self._venue.restart_ids(symbol, int(first), time.time_ns())
        return {}

    def do_republish(
        self, count: int = 10, symbol: str | None = None, times: int | None = None, now: bool = False
    ) -> dict[str, object]:
        """Publish the last trades again as if live: at the next trade subscriptions, or now."""
        if not now:
            self._rule("republish", "trade", symbol, times, count=int(count))
            return {}
        for name, market in self._venue.symbols.items():
            if symbol in (None, name) and ("trade", name, "") in self._venue.topics:
                self._venue.publish_trades(name, [(trade, True) for trade in list(market.history)[-int(count) :]])
        return {}

    def do_checksum(self, symbol: str | None = None, times: int | None = None, zero: bool = False) -> dict[str, object]:
        """Send wrong book checksums (or 0 as the checksum); until healed unless `times` is given."""
        self._rule("checksum", "book", symbol, times, text="zero" if zero else "")
        return {}

    def do_malformed(
        self, kind: str = "", instead: bool = False, channel: str = "trade", symbol: str | None = None
    ) -> dict[str, object]:
        """Send a malformed frame (all kinds if none is named); `instead` of the next message of a stream."""
        kinds = [kind] if kind else list(KINDS)
        for one in kinds:
            if one not in KINDS:
                raise ConfigError(f"no malformed frame {one!r}; the kinds are: {', '.join(KINDS)}")
            if instead:
                self._rule("replace", channel, symbol, 1, text=malformed_frame(one).decode("latin-1"))
            else:
                self._venue.send_malformed(one, malformed_frame(one), time.time_ns())
        return {"kinds": kinds}

    def do_oversized(self, megabytes: float = 40.0) -> dict[str, object]:
        """Send one frame of that size."""
        return {"clients": self._venue.send_malformed("oversized", oversized(float(megabytes)), time.time_ns())}

    def do_burst(self, events: int = 1000) -> dict[str, object]:
        """Make that many market events at once, beyond the rate."""
        self._venue.burst += int(events)
        return {}

    def do_rate(self, per_s: float) -> dict[str, object]:
        """Set the market events per second; 0 is as fast as the clients read."""
        self._venue.rate = float(per_s)
        return {}

    # ---- REST

    def do_rest(self, status: int = 503, times: int = 1, retry_after: str = "") -> dict[str, object]:
        """Answer the next REST requests with an error status, with `Retry-After` if given."""
        self._venue.faults.add(Rule("rest", left=int(times), text=retry_after, count=int(status)))
        return {}

    def do_rest_body(self, body: str, times: int = 1) -> dict[str, object]:
        """Answer the next REST requests with this body, which may be anything, and status 200."""
        self._venue.faults.add(Rule("rest_body", left=int(times), text=body))
        return {}

    def do_skip_ids(self, symbol: str, count: int = 1) -> dict[str, object]:
        """Never issue the next ids of a symbol's trades."""
        if symbol not in self._venue.symbols:
            raise ConfigError(f"no symbol {symbol!r}; the symbols are: {', '.join(self._venue.symbols)}")
        self._venue.symbols[symbol].next_id += int(count)
        return {}

    def do_history(self, kind: str, symbol: str | None = None, first: int = 0, last: int = 0) -> dict[str, object]:
        """Spoil the trades that REST lists: omit (ids first to last), floor (below first), late (the last newest),
        side (the other), round (times to ms), loop (one page for every cursor); `heal history` ends it.
        """
        if kind == "loop":
            self._rule(HISTORY_LOOP, None, symbol, None)
            return {}
        if kind not in HISTORY_KINDS:
            raise ConfigError(f"history: kind is one of {', '.join((*HISTORY_KINDS, 'loop'))}, not {kind!r}")
        self._venue.faults.add(history_rule(symbol, SpoiledHistory(kind, int(first), int(last))))
        return {}

    # ---- recovery and status

    def do_heal(self, what: str | None = None) -> dict[str, object]:
        """End one kind of fault, or all of them."""
        dropped = self._venue.faults.heal(what)
        if what is None:
            for one in self._server.connections.values():
                one.pace, one.cut_at = None, None
        return {"rules": dropped}

    def do_status(self) -> dict[str, object]:
        """Show the rate, the faults and the connections."""
        venue = self._venue
        return {
            "venue": venue.name, "rate": venue.rate, "seed": venue.market.seed, "items": venue.truth.items,
            "messages": venue.sent_messages, "rules": [msgspec.to_builtins(rule) for rule in venue.faults.rules],
            "connections": [
                {"connection": one.number, "pending": one.pending, "topics": len(venue.topics_of(one))}
                for one in venue.clients.values()
            ],
        }  # fmt: skip

    def _rule(
        self, do: str, channel: str | None, symbol: str | None, times: int | None, text: str = "", count: int = 0
    ) -> None:
        if symbol is not None and symbol not in self._venue.symbols:
            raise ConfigError(f"no symbol {symbol!r}; the symbols are: {', '.join(self._venue.symbols)}")
        if channel is not None and channel not in CHANNELS:
            raise ConfigError(f"no channel {channel!r}; the channels are: {', '.join(CHANNELS)}")
        self._venue.faults.add(Rule(do, symbol, channel, int(times) if times is not None else None, text, count))

    def _chosen(self, number: int | None) -> list[Connection]:
        return [one for one in self._venue.clients.values() if number is None or one.number == number]
