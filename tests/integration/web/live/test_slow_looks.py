"""A look that takes some seconds is slow, and no reason to say that Postgres is away; a longer one is."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from support.web.stored import StoredRows

from recorder.web.live.hub import Client
from recorder.web.live.protocol import Topic
from recorder.web.live.reading import Reader
from recorder.web.live.service import Live
from recorder.web.live.watching import Watching
from recorder.web.monitor.observed import Seen


async def _ticks_until(client: Client, *, problem: bool) -> list[dict[str, Any]]:
    """Return the ticks of a client up to the first with a problem, or the first without one."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while True:
            await client.wake.wait()
            client.wake.clear()
            for frame in client.outbox.take():
                tick = json.loads(frame)
                found.append(tick)
                if tick["op"] == "tick" and bool(tick.get("problem")) == problem:
                    return found


def test_only_a_look_that_has_not_ended_for_three_seconds_is_a_problem(database: str) -> None:
    stored = StoredRows(database)
    topic = Topic("quote", stored.instrument("kraken", "BTC/USD"))
    stored.close()
    answered = threading.Event()

    def address() -> str:
        answered.wait(15)  # as Postgres that does not let the look in
        return database

    def seen() -> Seen:
        raise AssertionError("no client wants the state of the programs")

    live = Live(Reader(address, lambda: 0.0), Watching(seen))

    async def watch() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        client = live.hub.join("")
        live.hub.want(client, [topic], 1, {}, 0)
        async with live.running():
            slow = await _ticks_until(client, problem=True)
            answered.set()
            return slow, await _ticks_until(client, problem=False)

    with ThreadPoolExecutor(1) as thread:  # a browser of other tests has a loop in this one
        slow, healthy = thread.submit(lambda: asyncio.run(watch())).result()
    *before, first = [tick for tick in slow if tick["op"] == "tick"]
    assert len(before) >= 2  # empty ticks of the first seconds
    assert first["problem"] == "Postgres has not answered for 3 s"
    assert "problem" not in healthy[-1] or not healthy[-1]["problem"]
