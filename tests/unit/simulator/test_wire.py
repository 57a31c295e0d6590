"""The server side of HTTP and RFC 6455, against frames of a correct client."""

import pytest
from websockets.frames import Frame, Opcode

from recorder.simulator import wire


def masked(payload: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin=fin).serialize(mask=True)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_client_frames_of_every_length_form_are_read_however_they_are_cut(size: int) -> None:
    data = masked(b"x" * size) + masked(b"ping", Opcode.PING)
    for cut in {0, 1, 2, 3, 9, 13, len(data) // 2, len(data)}:
        buffer, parts = bytearray(data[:cut]), list[bytes]()
        messages = wire.read_frames(buffer, parts)
        buffer += data[cut:]
        messages += wire.read_frames(buffer, parts)
        assert messages == [(wire.TEXT, b"x" * size), (wire.PING, b"ping")]
        assert not buffer


def test_fragments_of_a_client_are_joined_around_a_ping() -> None:
    data = bytearray(masked(b"one ", fin=False) + masked(b"!", Opcode.PING) + masked(b"two", Opcode.CONT, fin=True))
    assert wire.read_frames(data, []) == [(wire.PING, b"!"), (wire.TEXT, b"one two")]


def test_an_unmasked_client_frame_is_a_protocol_error() -> None:
    with pytest.raises(wire.BadRequestError, match="not masked"):
        wire.read_frames(bytearray(wire.frame(b"hello")), [])


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_our_frames_are_those_of_a_correct_library(size: int) -> None:
    assert wire.frame(b"y" * size) == Frame(Opcode.TEXT, b"y" * size).serialize(mask=False)


def test_a_request_is_read_when_its_body_is_complete() -> None:
    text = b"POST /a/b?x=1&y=two HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"
    buffer = bytearray(text[:-1])
    assert wire.read_request(buffer) is None
    buffer += text[-1:]
    request = wire.read_request(buffer)
    assert request is not None
    assert (request.method, request.path, request.query) == ("POST", "/a/b", {"x": "1", "y": "two"})
    assert request.body == b"body"
    assert not buffer


def test_the_handshake_answer_is_the_one_of_the_standard() -> None:
    request = wire.Request("GET", "/", {}, {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="})
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in wire.accept(request)  # RFC 6455 section 1.3


@pytest.mark.parametrize("text", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"])
def test_bytes_that_are_not_http_are_refused(text: bytes) -> None:
    with pytest.raises(wire.BadRequestError):
        wire.read_request(bytearray(text))
