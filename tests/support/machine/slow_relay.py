"""A relay before a server, whose answers arrive late by a time that can be changed."""

import asyncio
import contextlib
import threading
import time
from urllib.parse import urlsplit

_READ = 1 << 16


class SlowRelay:
    """Passes connections on to a server; what the server sends is late by `lag_s` seconds, in order."""

    def __init__(self, url: str, lag_s: float) -> None:
        """
        Args:
            url: Of the server, with its port.
            lag_s: Seconds.
        """
        self._upstream = urlsplit(url)
        self.url = ""
        self.lag_s = lag_s
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> "SlowRelay":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.url = self._upstream._replace(netloc=f"127.0.0.1:{server.sockets[0].getsockname()[1]}").geturl()
        self._ready.set()
        await self._ended.wait()
        server.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        with contextlib.suppress(asyncio.CancelledError):  # the relay ends
            await asyncio.gather(
                self._pass_on(reader, to_server),
                self._receive(from_server, late),
                self._send(late, writer),
                return_exceptions=True,  # a side that is gone ends the others
            )
        for one in (to_server, writer):
            one.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_READ):
            writer.write(data)
        writer.close()

    async def _receive(self, reader: asyncio.StreamReader, late: "asyncio.Queue[tuple[float, bytes]]") -> None:
        while data := await reader.read(_READ):
            late.put_nowait((time.monotonic(), data))
        late.put_nowait((time.monotonic(), b""))

    async def _send(self, late: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
        while True:
            received_s, data = await late.get()
            while (left_s := received_s + self.lag_s - time.monotonic()) > 0:
                await asyncio.sleep(min(left_s, 0.05))
            if not data:
                writer.close()
                return
            writer.write(data)
