"""Misbehaviour on request: one method per thing a venue may do wrong, the same over HTTP and from Python.

`POST /_control {"do": "close", "how": "rst"}` on the venue's own port; `GET /_control` lists what there is.
"""

import inspect
import time
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from recorder.errors import ConfigError
from recorder.events import CHANNELS
from recorder.simulator.connection import Connection, Pace
from recorder.simulator.junk import KINDS, junk, oversized
from recorder.simulator.mischief import Rule
from recorder.simulator.server import Server
from recorder.simulator.truth import Done
from recorder.simulator.venue import FakeVenue
from recorder.simulator.wire import Request, Response

Argument = str | float | bool | None
_PATH = "/_control"


class Controls:
    """What can be asked of one fake venue: every `do_NAME`, here or of the venue, its docstring being the help."""

    def __init__(self, venue: FakeVenue, server: Server) -> None:
        self._venue = venue
        self._server = server
        self._actions: dict[str, Callable[..., dict[str, object]]] = {
            name.removeprefix("do_"): getattr(owner, name)
            for owner in (self, venue)
            for name in dir(owner)
            if name.startswith("do_")
        }
        venue.control = self.http

    def do(self, name: str, arguments: Mapping[str, Argument] | None = None) -> dict[str, object]:
        """Run an action in the venue's thread.

        Raises:
            ConfigError: there is no such action, or its arguments are wrong.
        """
        arguments = dict(arguments or {})
        action = self._actions.get(name)
        if action is None:
            raise ConfigError(f"no misbehaviour {name!r}; there are: {', '.join(sorted(self._actions))}")
        try:
            inspect.signature(action).bind(**arguments)
        except TypeError as error:
            raise ConfigError(f"{name}{inspect.signature(action)}: {error}") from error

        def run() -> dict[str, object]:
            self._venue.truth.line(Done(time.time_ns(), name, arguments))
            try:
                return action(**arguments)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{name}: {error}") from error

        return self._server.call(run)

    def http(self, request: Request) -> Response | None:
        """Answer a request to the control path, None for any other."""
        if request.path != _PATH:
            return None
        if request.method == "GET":
            return Response(200, msgspec.json.encode(self.help()))
        try:
            arguments = msgspec.json.decode(request.body, type=dict[str, Argument])
            done = self.do(str(arguments.pop("do", "")), arguments)
        except (msgspec.DecodeError, ConfigError) as error:
            return Response(400, msgspec.json.encode({"error": str(error)}))
        return Response(200, msgspec.json.encode(done))

    def help(self) -> dict[str, str]:
        """Every action with its arguments and what it does."""
        return {
            name: f"{str(inspect.signature(action)).split(' ->')[0]} {inspect.getdoc(action)}"
            for name, action in sorted(self._actions.items())
        }

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
        """Neither read nor write any more, without telling: now, and for the next new connections."""
        chosen = self._chosen(connection)
        for one in chosen:
            one.half_open = True
        if next_ones:
            self._venue.mischief.add(Rule("half_open", left=int(next_ones)))
        return {"connections": len(chosen)}

    def do_slow(self, chunk: int = 100, every_s: float = 0.05, connection: int | None = None) -> dict[str, object]:
        """Send at most `chunk` bytes every `every_s` seconds; chunk 0 ends it."""
        chosen = self._chosen(connection)
        for one in chosen:
            one.pace = Pace(int(chunk), float(every_s)) if chunk else None
        return {"connections": len(chosen)}

    def do_fragment(self, largest: int = 50, pings: bool = True, connection: int | None = None) -> dict[str, object]:
        """Cut messages into random fragments of at most that size, pings between them; largest 0 ends it."""
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
        """Send no data of a symbol or channel, while heartbeats and pongs go on; `heal` ends it."""
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
        """Count the trades of a symbol anew."""
        if symbol not in self._venue.symbols:
            raise ConfigError(f"no symbol {symbol!r}; there are: {', '.join(self._venue.symbols)}")
        self._venue.restart_ids(symbol, int(first), time.time_ns())
        return {}

    def do_republish(
        self, count: int = 10, symbol: str | None = None, times: int | None = None, now: bool = False
    ) -> dict[str, object]:
        """Publish the last trades once more as if live: at the next trade subscriptions, or now."""
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

    def do_junk(
        self, kind: str = "", instead: bool = False, channel: str = "trade", symbol: str | None = None
    ) -> dict[str, object]:
        """Send a malformed frame (all kinds if none is named); `instead` of the next message of a stream."""
        kinds = [kind] if kind else list(KINDS)
        for one in kinds:
            if one not in KINDS:
                raise ConfigError(f"no junk {one!r}; there are: {', '.join(KINDS)}")
            if instead:
                self._rule("replace", channel, symbol, 1, text=junk(one).decode("latin-1"))
            else:
                self._venue.junk(one, junk(one), time.time_ns())
        return {"kinds": kinds}

    def do_oversized(self, megabytes: float = 40.0) -> dict[str, object]:
        """Send one frame of that size."""
        return {"clients": self._venue.junk("oversized", oversized(float(megabytes)), time.time_ns())}

    def do_burst(self, events: int = 1000) -> dict[str, object]:
        """Let that many market events happen at once, beyond the rate."""
        self._venue.burst += int(events)
        return {}

    def do_rate(self, per_s: float) -> dict[str, object]:
        """Market events a second from now on; 0 is as fast as the clients read."""
        self._venue.rate = float(per_s)
        return {}

    # ---- REST

    def do_rest(self, status: int = 503, times: int = 1, retry_after: str = "") -> dict[str, object]:
        """Answer the next REST requests with an error status, with `Retry-After` if given."""
        self._venue.mischief.add(Rule("rest", left=int(times), text=retry_after, count=int(status)))
        return {}

    # ---- and back

    def do_heal(self, what: str | None = None) -> dict[str, object]:
        """End one kind of misbehaviour, or all of them."""
        dropped = self._venue.mischief.heal(what)
        if what is None:
            for one in self._server.connections.values():
                one.pace, one.cut_at = None, None
        return {"rules": dropped}

    def do_status(self) -> dict[str, object]:
        """What is going on."""
        venue = self._venue
        return {
            "venue": venue.name, "rate": venue.rate, "seed": venue.market.seed, "items": venue.truth.items,
            "messages": venue.sent_messages, "rules": [msgspec.to_builtins(rule) for rule in venue.mischief.rules],
            "connections": [
                {"connection": one.number, "pending": one.pending, "topics": len(venue.topics_of(one))}
                for one in venue.clients.values()
            ],
        }  # fmt: skip

    def _rule(
        self, do: str, channel: str | None, symbol: str | None, times: int | None, text: str = "", count: int = 0
    ) -> None:
        if symbol is not None and symbol not in self._venue.symbols:
            raise ConfigError(f"no symbol {symbol!r}; there are: {', '.join(self._venue.symbols)}")
        if channel is not None and channel not in CHANNELS:
            raise ConfigError(f"no channel {channel!r}; there are: {', '.join(CHANNELS)}")
        self._venue.mischief.add(Rule(do, symbol, channel, int(times) if times is not None else None, text, count))

    def _chosen(self, number: int | None) -> list[Connection]:
        return [one for one in self._venue.clients.values() if number is None or one.number == number]
