"""The stream of the web: one look a second for all clients, and one task for each that sends it what waits.

The look is made in a thread of its own. When it takes longer than a second, ticks go on without values;
after three they say that Postgres does not answer.
"""

import asyncio
import contextlib
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

from starlette.websockets import WebSocket, WebSocketDisconnect

from recorder import __version__
from recorder.process.log import get_logger
from recorder.web.live import protocol
from recorder.web.live.hub import Client, Hub, Limits
from recorder.web.live.outbox import ItemKey
from recorder.web.live.protocol import TICK_S, Refused, Subscribe, Topic
from recorder.web.live.reading import Event, Reader, Reading
from recorder.web.live.watching import Watching

CHECK_S = 5.0
"""How often it is checked that clients are still allowed to listen."""
SNAPSHOT_S = 2.0
"""A snapshot this young also serves the next client; what was published since replaces its values."""
AWAY_S = 3.0
"""A look that has not ended for so long is a problem; a shorter one is only slow."""
MESSAGES_A_MINUTE = 60
"""Of one client."""
_MOST_KEPT = 10_000
_CLOSE_S = 1.0
_NORMAL, _POLICY, _TRY_LATER = 1000, 1008, 1013

_log = get_logger(__name__)

Argument = TypeVar("Argument")
Result = TypeVar("Result")
Valid = Callable[[float], bool]
"""Whether a client may go on at this unix time."""


class Live:
    """All that the stream consists of."""

    def __init__(self, reader: Reader, watching: Watching, limits: Limits | None = None) -> None:
        """
        Args:
            reader: Looks into Postgres.
            watching: Looks at the programs.
            limits: What is bounded; None for the usual ones.
        """
        self.hub = Hub() if limits is None else Hub(limits)
        self._reader = reader
        self._watching = watching
        self._thread = ThreadPoolExecutor(1, "web.stream")
        self._valid: dict[Client, Valid] = {}
        self._ids: dict[str, int] = {}
        self._snapshots: dict[Topic, tuple[float, int, dict[ItemKey, str]]] = {}  # with time and generation
        self._snapshot_lock = asyncio.Lock()
        self._problem = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make ticks until the block ends."""
        ticks = asyncio.create_task(self._ticks(), name="web.ticks")
        ticks.add_done_callback(_report)
        try:
            yield
        finally:
            ticks.cancel()
            for client in self.hub.clients:
                client.close(1012, "the web program stops; connect again")
            await asyncio.gather(ticks, return_exceptions=True)
            self._thread.submit(self._reader.close)
            self._thread.shutdown(wait=False)

    async def serve(self, socket: WebSocket, user: str, valid: Valid) -> None:
        """Serve one connection until it ends.

        Args:
            socket: Not accepted yet; its Origin and its user are checked.
            user: Name of the user; empty for a visitor without a login.
            valid: Asked every few seconds.
        """
        try:
            client = self.hub.join(user)
        except Refused as problem:
            await socket.close(_TRY_LATER, problem.detail)
            return
        self._valid[client] = valid
        try:
            await socket.accept()
            client.outbox.reply(protocol.hello(__version__))
            client.wake.set()
            tasks = {
                asyncio.create_task(self._receive(socket, client)),
                asyncio.create_task(self._send(socket, client)),
            }
            _done, running = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in running:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception) and not isinstance(
                    result, WebSocketDisconnect | RuntimeError | OSError
                ):
                    _log.error("stream.failed", exc_info=result)
        finally:
            self.hub.leave(client)
            self._valid.pop(client, None)

    # ---- one client

    async def _send(self, socket: WebSocket, client: Client) -> None:
        while True:
            await client.wake.wait()
            client.wake.clear()
            if client.closing is not None:
                break
            try:
                for frame in client.outbox.take():
                    async with asyncio.timeout(self.hub.limits.send_s):
                        await socket.send_text(frame)
            except TimeoutError:
                client.close(_TRY_LATER, "this client does not read; connect again")
                break
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await socket.close(*(client.closing or (_NORMAL, "")))

    async def _receive(self, socket: WebSocket, client: Client) -> None:
        times: deque[float] = deque(maxlen=MESSAGES_A_MINUTE)
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            now_s = time.monotonic()
            try:
                if len(times) == MESSAGES_A_MINUTE and now_s - times[0] < 60:
                    raise Refused(429, "Too many messages", f"at most {MESSAGES_A_MINUTE} messages a minute; wait")
                times.append(now_s)
                await self._handle(client, message.get("text") or message.get("bytes") or "")
            except Refused as problem:
                self.hub.refuse(client, problem)

    async def _handle(self, client: Client, text: str | bytes) -> None:
        request = protocol.parse(text)
        topics = protocol.topics(request.streams, await self._resolved(request.streams), request.id)
        if not isinstance(request, Subscribe):
            self.hub.unwant(client, topics)
            return
        self.hub.check(client, topics, request.id)
        items, generation = await self._snapshot(topics)
        self.hub.want(client, topics, request.id, items, generation)

    async def _resolved(self, streams: Sequence[protocol.Wanted]) -> dict[str, int]:
        names = protocol.named(streams)
        unknown = [name for name in names if name not in self._ids]
        if unknown:
            found = await self._in_thread(self._reader.resolve, unknown)
            if len(self._ids) > _MOST_KEPT:
                self._ids.clear()
            if not self._problem:
                self._ids |= found
            return {**found, **{name: self._ids[name] for name in names if name in self._ids}}
        return {name: self._ids[name] for name in names}

    async def _snapshot(self, topics: Sequence[Topic]) -> tuple[dict[ItemKey, str], int]:
        """Return the values of topics now, and the least generation of a look that they are of."""
        async with self._snapshot_lock:
            young_s = time.monotonic() - SNAPSHOT_S
            missing = [one for one in topics if one not in self._snapshots or self._snapshots[one][0] < young_s]
            if missing:
                reading = await self._in_thread(self._read, missing)
                if len(self._snapshots) > _MOST_KEPT:
                    self._snapshots.clear()
                by_topic: dict[Topic, dict[ItemKey, str]] = {one: {} for one in missing}
                for key, item in reading.items.items():
                    by_topic[key[0]][key] = item
                at_s = float("-inf") if reading.problem else time.monotonic()
                for one, found in by_topic.items():
                    self._snapshots[one] = at_s, reading.generation, found
            kept = [self._snapshots[one] for one in topics]
        items: dict[ItemKey, str] = {}
        for _, _, found in kept:
            items |= found
        return items, min((generation for _, generation, _ in kept), default=0)

    # ---- the looks

    async def _ticks(self) -> None:
        loop = asyncio.get_running_loop()
        look: asyncio.Future[tuple[Reading, list[Event]]] | None = None
        due_s = began_s = loop.time()
        checked_s = float("-inf")
        while True:
            due_s = max(due_s + TICK_S, loop.time())
            if look is None:
                look, began_s = loop.run_in_executor(self._thread, self._look, self.hub.topics()), loop.time()
            await asyncio.wait({look}, timeout=TICK_S)
            if look.done():
                reading, events = look.result()
                look, self._problem = None, reading.problem
                self.hub.publish(reading.items, reading.generation, datetime.now(UTC), self._problem)
                for event in events:
                    self.hub.event(event.topics, event.key, event.frame)
            else:
                away_s = loop.time() - began_s
                if away_s >= AWAY_S:
                    self._problem = f"Postgres has not answered for {away_s:.0f} s"
                self.hub.publish({}, 0, datetime.now(UTC), self._problem)
            if loop.time() - checked_s >= CHECK_S:
                checked_s = loop.time()
                self._check()
            await asyncio.sleep(max(0.0, due_s - loop.time()))

    def _look(self, topics: frozenset[Topic]) -> tuple[Reading, list[Event]]:
        reading = self._reader.look(topics)
        return reading, [*reading.events, *self._watching.look(topics)]

    def _read(self, topics: Sequence[Topic]) -> Reading:
        reading = self._reader.snapshot(topics)
        return reading._replace(items={**reading.items, **self._watching.snapshot(topics)})

    def _check(self) -> None:
        now = time.time()
        for client, valid in self._valid.items():
            if not valid(now):
                client.close(_POLICY, "the login has ended; log in and connect again")

    async def _in_thread(self, function: Callable[[Argument], Result], argument: Argument) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, argument)


def _report(task: "asyncio.Task[None]") -> None:
    """End the process when no tick is made any more, so that supervisord starts it again."""
    if not task.cancelled() and task.exception() is not None:
        _log.error("stream.ended", exc_info=task.exception())
        signal.raise_signal(signal.SIGTERM)
