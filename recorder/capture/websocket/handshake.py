"""Opens a WebSocket: resolve, connect, TLS and the HTTP answer, all within one deadline and one size.

A peer that sends a byte now and then would hold a link for as long as it likes, so every wait is against the deadline
of the whole, and a stop of the program ends it.
"""

import base64
import errno
import os
import select
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from recorder.capture.websocket import upgrade
from recorder.capture.websocket.upgrade import Endpoint
from recorder.clock import Clock
from recorder.errors import ConnectFailed
from recorder.process.deadline import SLICE_S, Deadline
from recorder.process.trust import tls_context

_Address = tuple[Any, ...]  # of the family that goes with it
_Options = Iterable[tuple[int, int, int]]


def open_socket(
    url: str, user_agent: str, ca_file: Path | None, options: _Options, clock: Clock, limit: Deadline
) -> socket.socket:
    """Return the socket of an open WebSocket, of which nothing but the answer to the handshake was read.

    Raises:
        ConnectFailed: the other side refuses, or does not follow the protocol.
        OSError: the network or TLS fails, or the deadline is over (TimeoutError).
        ValueError: the address is not one.
        ConfigError: the file of authorities cannot be used.
        Stopped: the program stops.
    """
    endpoint = Endpoint.parse(url)
    context = tls_context(ca_file) if endpoint.secure else None
    proxy = _proxy_of(endpoint)
    own = _connect(proxy.hostname or "", proxy.port or 80, options, limit) if proxy else None
    own = own or _connect(endpoint.host, endpoint.port, options, limit)
    try:
        if proxy:
            _tunnel(own, endpoint, proxy.username, proxy.password, limit)
        if context is not None:
            own = _secure(own, context, endpoint.host, limit)
        key = os.urandom(16)
        _send(own, upgrade.request(endpoint, key, user_agent), limit)
        upgrade.check(_read_head(own, limit), key, clock.wall_ns())
    except BaseException:
        own.close()
        raise
    return own


def _connect(host: str, port: int, options: _Options, limit: Deadline) -> socket.socket:
    """Return a socket connected to one of the addresses of a host; each gets its part of the time that is left."""
    addresses = _resolve(host, port, limit)
    failure: OSError | None = None
    for number, (family, address) in enumerate(addresses):
        share_s = limit.left_s() / (len(addresses) - number)  # an address that drops packets leaves time for the next
        own = socket.socket(family, socket.SOCK_STREAM)
        try:
            for option in options:
                own.setsockopt(*option)
            own.setblocking(False)
            code = own.connect_ex(address)
            if code == errno.EINPROGRESS:
                limit.wait(share_s, partial(_await_connected, own))
                code = own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
            return own
        except OSError as error:
            own.close()
            failure = error
        except BaseException:
            own.close()
            raise
    raise failure or OSError(f"{host} has no address")


def _resolve(host: str, port: int, limit: Deadline) -> list[tuple[int, _Address]]:
    """Return the addresses of a host, asked again at each attempt.

    The resolver of the system cannot be interrupted, so it works in a thread that is left behind at the deadline.
    """
    found: list[tuple[int, _Address]] = []
    failures: list[OSError | UnicodeError] = []
    done = threading.Event()

    def ask() -> None:
        try:
            found.extend((one[0], one[4]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            failures.append(error)
        done.set()

    def await_answer() -> None:
        if not done.wait(SLICE_S):
            raise TimeoutError

    threading.Thread(target=ask, name=f"resolve-{host[:40]}", daemon=True).start()
    limit.wait(None, await_answer)
    if failures:
        raise failures[0]
    return found


def _await_connected(own: socket.socket) -> None:
    poll = select.poll()  # select() refuses descriptors above 1023
    poll.register(own, select.POLLOUT)
    if not poll.poll(SLICE_S * 1000):
        raise TimeoutError("no answer to the connect")


def _secure(own: socket.socket, context: ssl.SSLContext, host: str, limit: Deadline) -> ssl.SSLSocket:
    own.settimeout(SLICE_S)
    secured = context.wrap_socket(own, server_hostname=host, do_handshake_on_connect=False)
    try:
        limit.wait(None, secured.do_handshake)
    except BaseException:
        secured.close()
        raise
    return secured


def _send(own: socket.socket, data: bytes, limit: Deadline) -> None:
    own.settimeout(SLICE_S)
    while data:
        data = data[limit.wait(None, partial(own.send, data)) :]


def _read_head(own: socket.socket, limit: Deadline) -> bytes:
    """Return an answer up to its blank line. What follows stays in the socket, so it is read byte by byte."""
    own.settimeout(SLICE_S)
    head = bytearray()
    read_byte = partial(own.recv, 1)
    while not upgrade.complete(head):
        byte = limit.wait(None, read_byte)
        if not byte:
            raise ConnectFailed("the other side closed the connection before it answered the handshake")
        head += byte
    return bytes(head)


def _proxy_of(endpoint: Endpoint) -> Any:
    """Return the parsed address of the proxy that the environment names for an endpoint; None for none."""
    proxies = urllib.request.getproxies()
    address = proxies.get("https" if endpoint.secure else "http")
    if not address or endpoint.host in ("localhost", "127.0.0.1", "::1"):
        return None
    if urllib.request.proxy_bypass(endpoint.host):
        return None
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise ConnectFailed(f"a proxy of the kind {proxy.scheme}:// is not supported; name one with http://")
    return proxy


def _tunnel(own: socket.socket, endpoint: Endpoint, user: str | None, password: str | None, limit: Deadline) -> None:
    """Have a proxy connect to the endpoint."""
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    head = f"CONNECT {host}:{endpoint.port} HTTP/1.1\r\nHost: {host}:{endpoint.port}\r\n"
    if user:
        login = base64.b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()
        head += f"Proxy-Authorization: Basic {login}\r\n"
    _send(own, (head + "\r\n").encode(), limit)
    status = upgrade.status_of(_read_head(own, limit))
    if not 200 <= status <= 299:
        raise ConnectFailed(f"the proxy answered HTTP {status}")
