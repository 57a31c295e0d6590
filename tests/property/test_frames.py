"""The frame reader: a stream cut anywhere gives the same messages, for our own bytes and for a real server."""

import contextlib
import os
import random
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import websocket
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.sync.server import ServerConnection, serve

from recorder.capture.websocket.frames import BINARY, CLOSE, PING, PONG, TEXT, FrameReader, Oversized, ProtocolError

LIMIT = 70_000  # above the 16-bit lengths, below the longest messages used here

Out = tuple[list[object], list[tuple[int, bytes]]]


def wire(opcode: int, payload: bytes, *, final: bool = True, form: int = 0) -> bytes:
    """Return a frame of a server, its length in the shortest form or in 16 or 64 bits."""
    head = bytes([(0x80 if final else 0) | opcode])
    if form == 64 or len(payload) > 0xFFFF:
        return head + b"\x7f" + struct.pack("!Q", len(payload)) + payload
    if form == 16 or len(payload) > 125:
        return head + b"\x7e" + struct.pack("!H", len(payload)) + payload
    return head + bytes([len(payload)]) + payload


def feed(reader: FrameReader, data: bytes, cuts: Sequence[int]) -> Out:
    """Give the reader `data` in pieces that end at `cuts`, none larger than its room."""
    messages: list[object] = []
    controls: list[tuple[int, bytes]] = []
    at = 0
    for cut in [*sorted(cuts), len(data)]:
        while at < cut:
            room = reader.room()
            assert len(room) > 0
            count = min(len(room), cut - at)
            room[:count] = data[at : at + count]
            room.release()
            some, others = reader.received(count)
            messages += [item.length if isinstance(item, Oversized) else item for item in some]
            controls += others
            at += count
    return messages, controls


lengths = st.sampled_from([0, 1, 2, 124, 125, 126, 127, 128, 1000, 65_535, 65_536, LIMIT, LIMIT + 1, 200_000])
control = st.tuples(st.sampled_from([PING, PONG, CLOSE]), st.binary(max_size=125))


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[object], list[tuple[int, bytes]], list[int]]:
    """Bytes of a valid stream, the messages and control frames in it, and offsets worth cutting at."""
    data = bytearray()
    messages: list[object] = []
    controls: list[tuple[int, bytes]] = []
    edges: list[int] = []

    def add(frame: bytes) -> None:
        edges.extend(range(len(data), len(data) + min(len(frame), 11)))
        data.extend(frame)

    for number in range(draw(st.integers(1, 6))):
        opcode = draw(st.sampled_from([TEXT, BINARY]))
        sizes = draw(st.lists(lengths, min_size=1, max_size=4))
        parts = [bytes([65 + number]) * size for size in sizes]
        for place, part in enumerate(parts):
            form = draw(st.sampled_from([0, 0, 0, 64] if len(part) > 0xFFFF else [0, 0, 0, 16, 64]))
            add(wire(opcode if place == 0 else 0, part, final=place == len(parts) - 1, form=form))
            for one in draw(st.lists(control, max_size=2)):
                add(wire(*one))
                controls.append(one)
        whole = b"".join(parts)
        messages.append(whole if len(whole) <= LIMIT else len(whole))
    return bytes(data), messages, controls, edges


@settings(max_examples=120, deadline=None)
@given(streams(), st.data())
def test_a_stream_cut_anywhere_gives_the_same_messages(
    stream: tuple[bytes, list[object], list[tuple[int, bytes]], list[int]], data: st.DataObject
) -> None:
    raw, messages, controls, edges = stream
    cuts = data.draw(st.lists(st.sampled_from(edges) | st.integers(0, len(raw)), max_size=40))
    assert feed(FrameReader(LIMIT), raw, cuts) == (messages, controls)


@pytest.mark.parametrize("form", [0, 16, 64])
def test_a_header_may_be_cut_at_every_byte_and_arrive_byte_by_byte(form: int) -> None:
    raw = wire(TEXT, b"before") + wire(TEXT, b"x" * 300, form=form) + wire(PING, b"p") + wire(TEXT, b"after")
    expected: Out = ([b"before", b"x" * 300, b"after"], [(PING, b"p")])
    for cut in range(len(raw) + 1):
        assert feed(FrameReader(1000), raw, [cut]) == expected
    assert feed(FrameReader(1000), raw, range(len(raw))) == expected


@pytest.mark.parametrize("limit", [10, 1000, 66_000, 1_000_000])
def test_a_message_of_exactly_the_limit_is_read_and_a_longer_one_is_skipped(limit: int) -> None:
    raw = wire(TEXT, b"a" * limit) + wire(TEXT, b"b" * (limit + 1)) + wire(TEXT, b"c")
    assert feed(FrameReader(limit), raw, [5, limit, limit + 4]) == ([b"a" * limit, limit + 1, b"c"], [])


def test_a_skipped_message_keeps_a_sample_and_costs_no_memory() -> None:
    reader = FrameReader(1 << 20)
    room = reader.room()
    head = b"\x81\x7f" + struct.pack("!Q", 1 << 40) + b"begins so"
    room[: len(head)] = head
    room.release()
    assert reader.received(len(head)) == ([], [])
    for _ in range(200):
        room = reader.room()
        assert len(room) <= 1 << 17
        count = len(room)
        room.release()
        assert reader.received(count) == ([], [])
    assert reader._oversized is not None
    assert reader._oversized.sample.startswith(b"begins so")


def test_a_fragmented_message_that_grows_too_long_is_skipped_with_its_beginning() -> None:
    reader = FrameReader(100)
    raw = wire(TEXT, b"x" * 60, final=False) + wire(0, b"y" * 60, final=False) + wire(PING, b"") + wire(0, b"z" * 500)
    room = reader.room()
    room[: len(raw) + 3] = raw + wire(TEXT, b"!")
    room.release()
    (skipped, after), controls = reader.received(len(raw) + 3)
    assert isinstance(skipped, Oversized)
    assert (skipped.length, skipped.sample[:60]) == (620, b"x" * 60)
    assert (after, controls) == (b"!", [(PING, b"")])


def test_room_shrinks_again_after_a_long_message() -> None:
    reader = FrameReader(8 << 20)
    feed(reader, wire(TEXT, b"x" * (6 << 20)), [])
    assert len(reader.room()) <= 1 << 17


VIOLATIONS = {
    "a masked frame": b"\x81\x85\x00\x00\x00\x00hello",
    "a masked long frame": b"\x81\xfe\x01\x00" + b"\x00" * 260,
    "a reserved bit": b"\xc1\x01x",
    "an unknown data opcode": b"\x83\x01x",
    "an unknown control opcode": b"\x8b\x01x",
    "a continuation of nothing": b"\x80\x01x",
    "a message inside another": wire(TEXT, b"a", final=False) + wire(TEXT, b"b"),
    "a fragmented ping": wire(PING, b"", final=False),
    "a ping too long": wire(PING, b"x" * 126),
    "a ping that claims four gigabytes": b"\x89\x7f" + struct.pack("!Q", 1 << 32) + b"x",
    "a length with its highest bit set": b"\x82\x7f" + struct.pack("!Q", 1 << 63),
    "an oversized frame of an unknown opcode": b"\x83\x7f" + struct.pack("!Q", 1 << 20),
    "an oversized frame with a reserved bit": b"\xc1\x7f" + struct.pack("!Q", 1 << 20),
    "an oversized continuation of nothing": b"\x80\x7f" + struct.pack("!Q", 1 << 20),
    "an oversized message inside another": wire(TEXT, b"a", final=False) + b"\x81\x7f" + struct.pack("!Q", 1 << 20),
}


@pytest.mark.parametrize("raw", VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_a_violation_of_the_protocol_is_reported(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        feed(FrameReader(1000), wire(TEXT, b"fine") + raw, [])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
@example(b"\x81\x7f" + b"\xff" * 8, [])
def test_any_bytes_give_messages_or_a_protocol_error(raw: bytes, cuts: list[int]) -> None:
    with contextlib.suppress(ProtocolError):
        feed(FrameReader(100), raw, [cut for cut in cuts if cut <= len(raw)])


# ---- a real server ----------------------------------------------------------------------------------


@contextmanager
def connected(server: "Script") -> Iterator[socket.socket]:
    """A socket opened by websocket-client to a real server that then sends what `server` gives."""
    with serve(server, "127.0.0.1", 0, compression=None, ping_interval=None) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        client = websocket.create_connection(f"ws://127.0.0.1:{running.socket.getsockname()[1]}", timeout=20)
        try:
            assert client.sock is not None
            yield client.sock
        finally:
            client.close()
            running.shutdown()
            thread.join(10)


class Script:
    """Sends random messages in random fragments with control frames between them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.messages: list[object] = []
        self.pings: list[bytes] = []

    def __call__(self, connection: ServerConnection) -> None:
        rng = self._random
        for _ in range(60):
            size = rng.choice([0, 1, 125, 126, 127, 300, 5000, 65_535, 65_536, 100_000, LIMIT, LIMIT + 1, 300_000])
            payload = os.urandom(size)
            self.messages.append(payload if size <= LIMIT else size)
            pieces = rng.choice([1, 1, 2, 5])
            edges = sorted(rng.randint(0, size) for _ in range(pieces - 1))
            parts = [payload[a:b] for a, b in zip([0, *edges], [*edges, size], strict=True)]
            for place, part in enumerate(parts):
                opcode = Opcode.BINARY if place == 0 else Opcode.CONT
                self._send(connection, Frame(opcode, part, fin=place == len(parts) - 1))
                if rng.random() < 0.3:
                    ping = os.urandom(rng.choice([0, 5, 125]))
                    self.pings.append(ping)
                    self._send(connection, Frame(Opcode.PING, ping))
        connection.close()

    @staticmethod
    def _send(connection: ServerConnection, frame: Frame) -> None:
        connection.socket.sendall(frame.serialize(mask=False))


@pytest.mark.parametrize("seed", range(4))
def test_a_real_server_is_read_completely_whatever_the_size_of_the_chunks(seed: int) -> None:
    script, rng = Script(seed), random.Random(seed)
    largest = [1 << 20, 4096, 900, 64_000][seed]
    reader = FrameReader(LIMIT)
    messages: list[object] = []
    controls: list[tuple[int, bytes]] = []
    with connected(script) as sock:
        while not any(opcode == CLOSE for opcode, _ in controls):
            room = reader.room()
            count = sock.recv_into(room[: rng.randint(1, largest)])
            assert count > 0
            some, others = reader.received(count)
            messages += [item.length if isinstance(item, Oversized) else item for item in some]
            controls += others
    assert messages == script.messages
    assert [payload for opcode, payload in controls if opcode == PING] == script.pings
