"""Many clients of the stream at a time: every frame arrives, and clients that never read slow no other.

`-m long` runs the form of a release: 1,000 clients of 10 symbols for a minute.
"""

import json
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.web.raw_clients import RawClient, delay_s, receive_all
from support.web.server import RunningWeb
from support.web.stored import StoredRows

SYMBOLS = 10
DEAF = 5
DEAF_BYTES = 4096


@pytest.fixture
def own_web(live_database: str, tmp_path: Path) -> Iterator[RunningWeb]:
    running = RunningWeb(tmp_path / "home", live_database, TAPEDECK__WEB__PUBLIC_READ="true")
    running.start()
    yield running
    running.stop()


@pytest.mark.parametrize(
    ("clients", "seconds"), [(100, 5.0), pytest.param(1_000, 60.0, marks=[pytest.mark.long, pytest.mark.timeout(400)])]
)
def test_every_frame_reaches_every_client_that_reads(
    clients: int, seconds: float, own_web: RunningWeb, live_database: str
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard) if hard > 0 else 4096, hard))
    rows = StoredRows(live_database)
    ids = [rows.instrument("okx", f"LOAD-{clients}-{number}") for number in range(SYMBOLS)]
    streams = [{"kind": "quote", "instrument": f"okx:LOAD-{clients}-{number}"} for number in range(SYMBOLS)]
    every_gap = [{"kind": "gap"}]
    stop = threading.Event()
    feeder = threading.Thread(target=_feed, args=(rows, ids, stop), name="feeder")
    process = psutil.Process(own_web.pid)
    listening: list[RawClient] = []
    deaf: list[RawClient] = []
    try:
        for _ in range(DEAF):
            deaf.append(RawClient(own_web.port, receive_bytes=DEAF_BYTES))
            deaf[-1].subscribe([*streams, *every_gap])
        for _ in range(clients):
            listening.append(RawClient(own_web.port))
            listening[-1].subscribe(streams)
        for client in listening:
            client.wait("snapshot", within_s=60)
        feeder.start()
        receive_all(listening, 1.5)
        for client in listening:
            client.frames.clear()
        cpu_s, began_s = sum(process.cpu_times()[:2]), time.monotonic()
        receive_all(listening, seconds)
        used = (sum(process.cpu_times()[:2]) - cpu_s) / (time.monotonic() - began_s)
    finally:
        stop.set()
        if feeder.is_alive():
            feeder.join()
        memory = process.memory_info().rss
        for client in (*listening, *deaf):
            client.close()
        rows.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    delays, whole = [], 0
    for client in listening:
        assert client.closed is None
        messages = [(at, json.loads(text)) for at, text in client.frames]
        numbers = [message["seq"] for _, message in messages]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))  # none was merged or left out
        assert len(numbers) >= seconds * 0.8 - 1
        delays += [delay_s(at, message) for at, message in messages]
        whole += sum(len(message["items"]) == SYMBOLS for _, message in messages)
    delays.sort()
    p50, p99 = (1000 * delays[len(delays) * part // 100] for part in (50, 99))
    print(
        f"{clients} clients x {SYMBOLS} symbols for {seconds:.0f} s: {len(delays)} frames, "
        f"{100 * whole / len(delays):.0f} % with all symbols, p50 {p50:.0f} ms, p99 {p99:.0f} ms, "
        f"{memory / 2**20:.0f} MiB, {100 * used:.1f} % of a core"
    )
    assert memory < 200 * 2**20
    assert whole > 0


def _feed(rows: StoredRows, ids: list[int], stop: threading.Event) -> None:
    """Change every quote several times a second."""
    price = 1.0
    while not stop.wait(0.3):
        price += 1
        for one in ids:
            rows.quote(one, price, price + 1)


@pytest.mark.long
def test_a_client_that_does_not_read_is_closed_and_the_others_get_every_tick(
    own_web: RunningWeb, live_database: str
) -> None:
    rows = StoredRows(live_database)
    names = [f"DEAF-{number:03d}-{'x' * 200}" for number in range(200)]  # 200 items of 500 bytes fill the buffers soon
    ids = [rows.instrument("okx", name) for name in names]
    streams = [{"kind": "quote", "instrument": f"okx:{name}"} for name in names]
    stop = threading.Event()
    feeder = threading.Thread(target=_feed, args=(rows, ids, stop), name="feeder")
    deaf = [RawClient(own_web.port, receive_bytes=DEAF_BYTES) for _ in range(DEAF)]
    reads = RawClient(own_web.port)
    try:
        for client in deaf:
            for part in (streams[:100], streams[100:]):
                client.subscribe(part)
        reads.subscribe(streams[:1])
        reads.wait("snapshot")
        feeder.start()
        reads.frames.clear()
        left = psutil.Process(own_web.pid)
        until = time.monotonic() + 45
        while _sockets(left, own_web.port) > 1 and time.monotonic() < until:
            receive_all([reads], 0.5)
        assert _sockets(left, own_web.port) == 1  # those that do not read are gone
        numbers = [message["seq"] for _, text in reads.frames if (message := json.loads(text))["op"] == "tick"]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    finally:
        stop.set()
        if feeder.is_alive():
            feeder.join()
        for client in (*deaf, reads):
            client.close()
        rows.close()


def _sockets(process: psutil.Process, port: int) -> int:
    """Return the open connections of clients."""
    found = process.net_connections("tcp")
    return sum(one.laddr.port == port and one.status == psutil.CONN_ESTABLISHED for one in found)
